"""What the README shows works: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from nanogpt_images.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("nanogpt-images") and "--sandbox" in line
]
SCRIPTS = [code for code in PYTHON if "web.run_app" not in code]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


@pytest.fixture
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
    monkeypatch.setenv("NANOGPT_BASE_URL", sandbox.url)


def test_readme_holds_its_examples() -> None:
    """Five examples, four of them in Python, and at least four commands for the sandbox."""
    assert (len(PYTHON), len(SCRIPTS)) == (4, 3)
    assert len(COMMANDS) >= 4


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("code", SCRIPTS, ids=["async", "blocking", "batch"])
def test_script_runs_and_writes_images(code: str, tmp_path: Path) -> None:
    """A script of the README runs as it stands, also a second time, and leaves image files behind."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg", ".webp"))


@pytest.mark.usefixtures("environment")
async def test_web_app_answers_with_an_image() -> None:
    """The web app of the README draws what its visitor asks for."""
    (code,) = [code for code in PYTHON if code not in SCRIPTS]
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    async with TestClient(TestServer(names["make_app"]())) as visitor:  # type: ignore[operator]
        response = await visitor.get("/draw", params={"prompt": "a red fox"})
        assert response.status == 200
        assert response.content_type == "image/png"
        assert (await response.read()).startswith(b"\x89PNG")


def test_commands_work_in_their_order(tmp_path: Path) -> None:
    """The commands of the README succeed one after the other, as a reader would type them."""
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a red fox"}\n{"prompt": "a hare", "count": 2}\n')
    for command in [*COMMANDS, "nanogpt-images status out"]:
        arguments = re.findall(r'"([^"]*)"|(\S+)', command)
        words = [quoted or plain for quoted, plain in arguments][1:]
        done = subprocess.run(
            [sys.executable, "-m", "nanogpt_images", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_relative_link_leads_to_a_file(target: str) -> None:
    """A relative link of the README names a file of the repository."""
    assert (ROOT / target).is_file()
