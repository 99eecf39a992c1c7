"""`generate`."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from ..conftest import Run, command, environment, until_posted

PNG = b"\x89PNG\r\n"


def test_writes_files(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """The images are files named by the prompt; path, size, cost and balance are printed."""
    done = run(
        "generate", "a red fox", "-m", "tiny-and-fast", "-n", "2", "-o", "out", "--base-url", service.url
    )
    assert done.code == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["a-red-fox-0.png", "a-red-fox-1.png"]
    assert all(file.read_bytes().startswith(PNG) for file in files)
    assert "out/a-red-fox-0.png  64x64" in done.out
    assert "2 images · cost $0.0002 · balance $" in done.out
    assert [entry.n for entry in service.ledger.billed] == [2]


def test_json(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """--json prints one document that names the file, the cost and the request."""
    done = run(
        "generate", "a hare", "-m", "tiny-and-fast", "--name", "hare", "--json", "--base-url", service.url
    )
    document = done.document
    assert document["images"][0]["file"] == "hare.png"
    assert document["images"][0]["bytes"] == (tmp_path / "hare.png").stat().st_size
    assert document["cost_usd"] == 0.0001
    assert document["request_id"] == service.ledger.billed[0].request_id
    assert done.err == ""


def test_parameters_reach_the_service(run: Run, service: BlockingSandbox) -> None:
    """Named options and --param both become fields of the request."""
    done = run(
        "generate", "a kite", "-m", "krea-v2/turbo", "-r", "1k", "--aspect-ratio", "16:9", "--param", "seed=7",
        "--json", "--base-url", service.url,
    )  # fmt: skip
    image = done.document["images"][0]
    assert image["width"] > image["height"]


def test_openai_route_with_urls(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """On the OpenAI-compatible route signed URLs are downloaded to files."""
    done = run(
        "generate", "a boat", "-m", "tiny-and-fast", "--route", "openai", "--delivery", "url", "--base-url", service.url
    )  # fmt: skip
    assert done.code == 0
    assert (tmp_path / "a-boat.png").read_bytes().startswith(PNG)
    assert [entry.route for entry in service.ledger.billed] == ["openai"]


def test_an_existing_file_stops_it(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """Nothing is sent when a file of that name exists, unless --overwrite is given."""
    (tmp_path / "fox.png").write_bytes(b"mine")
    args = ("generate", "a fox", "-m", "tiny-and-fast", "--name", "fox", "--base-url", service.url)
    done = run(*args)
    assert done.code == 2
    assert "--overwrite" in done.err
    assert service.ledger.posts == []
    assert (tmp_path / "fox.png").read_bytes() == b"mine"
    assert run(*args, "--overwrite").code == 0
    assert (tmp_path / "fox.png").read_bytes().startswith(PNG)


def test_too_many_images(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """-n beyond the model's range is refused here, names `batch`, and makes no directory."""
    done = run("generate", "a fox", "-m", "tiny-and-fast", "-n", "9", "-o", "out", "--base-url", service.url)
    assert done.code == 2
    assert "batch --count" in done.err
    assert service.ledger.posts == []
    assert not (tmp_path / "out").exists()


def test_without_validation_the_service_decides(run: Run, service: BlockingSandbox) -> None:
    """--no-validate sends what the catalogue does not offer."""
    done = run(
        "generate", "a fox", "-m", "tiny-and-fast", "-r", "9x9", "--no-validate", "--json", "--base-url", service.url
    )  # fmt: skip
    assert done.code == 1
    assert done.document["error"]["status"] == 400
    assert done.document["error"]["charge"] == "rejected"
    assert len(service.ledger.posts) == 1


def test_without_a_key(run: Run, tmp_path: Path) -> None:
    """Without key and sandbox one line names both ways on; exit code 4."""
    done = run("generate", "a fox", "-m", "tiny-and-fast", "-o", "out")
    assert done.code == 4
    assert "NANOGPT_API_KEY" in done.err
    assert "--sandbox" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["sk-nano-wrong-key", "not a key"])
def test_bad_key(run: Run, key: str) -> None:
    """A key that the service or a header refuses gives exit code 4, and is not repeated in the message."""
    with Sandbox.in_thread(key="sk-nano-the-right-one") as service:
        done = run("generate", "a fox", "-m", "tiny-and-fast", "--base-url", service.url, NANOGPT_API_KEY=key)
        assert service.ledger.billed == []
    assert done.code == 4
    assert key not in done.err
    assert "NANOGPT_API_KEY" in done.err


def test_sandbox_in_the_process(spawn: Run, tmp_path: Path) -> None:
    """--sandbox needs neither key nor address, and says that nothing is charged."""
    done = spawn("generate", "a fox", "-m", "tiny-and-fast", "--sandbox")
    assert done.code == 0
    assert "nothing is charged" in done.err
    assert (tmp_path / "a-fox.png").exists()


def test_sandbox_elsewhere(run: Run) -> None:
    """--sandbox with an address that is not this machine is refused."""
    done = run("generate", "a fox", "-m", "x", "--sandbox", "--base-url", "https://nano-gpt.com")
    assert done.code == 2
    assert "exclude each other" in done.err


def test_directory_that_cannot_be_made(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """A target that is a file is refused before anything is sent."""
    (tmp_path / "out").write_text("a file")
    done = run("generate", "a fox", "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert service.ledger.posts == []


def test_lost_answer(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """A lost answer says that it may have been charged, and is not sent again."""
    service.set_faults(Fault("reset_after_body"))
    done = run("generate", "a fox", "-m", "tiny-and-fast", "--json", "--base-url", service.url)
    assert done.code == 1
    error = done.document["error"]
    assert error["charge"] == "unknown"
    assert "account" in error["hint"]
    assert len(service.ledger.posts) == 1
    assert list(tmp_path.iterdir()) == []


def test_balance(run: Run, service: BlockingSandbox) -> None:
    """A refusal for want of balance gives exit code 4."""
    service.set_faults(Fault("402"))
    done = run("generate", "a fox", "-m", "tiny-and-fast", "--base-url", service.url)
    assert done.code == 4
    assert "charged" in done.err


def test_input_images(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """--ref sends a file as an input image; one that is not there is refused before anything is sent."""
    args = ("generate", "as a woodcut", "-m", "restyle", "--base-url", service.url)
    assert run("generate", "a fox", "-m", "gpt-image-2", "--name", "fox", "--base-url", service.url).code == 0
    assert run(*args, "--ref", tmp_path / "fox.png").code == 0
    posts = len(service.ledger.posts)
    done = run(*args, "--name", "other", "--ref", "none.png")
    assert done.code == 2
    assert "none.png" in done.err
    assert len(service.ledger.posts) == posts


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(tmp_path: Path, number: signal.Signals) -> None:
    """An interrupt of a paid request says that it may have been charged, and leaves no file."""
    with Sandbox.in_thread(faults=[Fault("stall_before_headers")]) as service:
        args = command(
            "generate", "a fox", "-m", "tiny-and-fast", "-o", "out", "--json", "--base-url", service.url
        )
        with subprocess.Popen(
            args, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            until_posted(service, 1, process)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""
    assert json.loads(out)["error"]["charge"] == "unknown"
    assert list((tmp_path / "out").iterdir()) == []


class _Page(http.server.BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.command)
        body = b"<html><body>Sign in to the network</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def portal() -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything with a page of HTML; its address, and the methods it met."""
    handler = type("Page", (_Page,), {"requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.requests
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("verb", ["generate", "batch"])
def test_html_is_met_before_paying(
    run: Run, portal: tuple[str, list[str]], manifest: Path, tmp_path: Path, verb: str
) -> None:
    """Against a page of HTML nothing is sent and nothing is left behind."""
    url, methods = portal
    what = "a fox" if verb == "generate" else manifest
    done = run(verb, what, "-m", "tiny-and-fast", "-o", "out", "--base-url", url)
    assert done.code == 1
    assert "not JSON" in done.err
    assert len(done.err.splitlines()) == 1
    assert "POST" not in methods
    assert not (tmp_path / "out").exists()
