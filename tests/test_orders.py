"""The workers of docs/examples that pay once: FastAPI, Celery on a real Redis, plain asyncio; killed and redelivered."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
REDIS = shutil.which("redis-server") or os.environ.get("NANOGPT_TEST_REDIS_SERVER")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[BlockingSandbox]:
    """The service, and the environment of the examples."""
    with Sandbox.in_thread(requests_per_second=None, balance_usd=1e6) as running:
        for name, value in {
            "NANOGPT_API_KEY": running.api_key,
            "NANOGPT_BASE_URL": running.url,
            "IMAGE_MODEL": "tiny-and-fast",
            "IMAGE_DIR": str(tmp_path / "images"),
            "LEDGER": str(tmp_path / "paid.db"),
        }.items():
            monkeypatch.setenv(name, value)
        yield running


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def charges(sandbox: BlockingSandbox) -> Counter[str]:
    return Counter(entry.prompt for entry in sandbox.ledger.billed)


async def test_an_idempotency_key_of_the_web(sandbox: BlockingSandbox) -> None:
    """Ten equal requests at once pay once; another prompt under the key and an unknown outcome have their own answers."""
    app = runpy.run_path(str(EXAMPLES / "orders_fastapi.py"))["app"]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession(url) as visitor:

        async def ask(prompt: str, key: str) -> tuple[int, bytes]:
            headers = {"Idempotency-Key": key}
            async with visitor.post("/orders", params={"prompt": prompt}, headers=headers) as answer:
                return answer.status, await answer.read()

        answers = await asyncio.gather(*(ask("a fox", "click-1") for _ in range(10)))
        assert {status for status, _ in answers} == {200}
        assert len({body for _, body in answers}) == 1
        assert (await ask("a hare", "click-1"))[0] == 422
        sandbox.set_faults(Fault("reset_after_body", times=1))
        assert [(await ask("an owl", "click-2"))[0] for _ in range(3)] == [409] * 3
    server.should_exit = True
    await serving
    assert max(charges(sandbox).values()) == 1


def test_a_worker_killed_in_the_middle(sandbox: BlockingSandbox, tmp_path: Path) -> None:
    """Started again it fills what is left; what was under way is unknown, stays in the queue and is not sent again."""
    orders = tmp_path / "orders"
    orders.mkdir()
    for number in range(6):
        (orders / f"order-{number}.json").write_text(json.dumps({"prompt": f"fox {number}"}))
    command = [sys.executable, str(EXAMPLES / "orders_asyncio.py"), str(orders), str(tmp_path / "images")]
    sandbox.set_faults(Fault("stall_before_headers", prompt_contains="fox 3"))
    worker = subprocess.Popen(command)
    until(lambda: len(sandbox.ledger.billed) == 6 and len(list(orders.iterdir())) == 1)
    worker.kill()
    worker.wait()
    sandbox.set_faults()
    for _ in range(2):
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert max(charges(sandbox).values()) == 1
    assert [order.stem for order in orders.iterdir()] == ["order-3"]
    assert len(list((tmp_path / "images").iterdir())) == 5


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis of its own, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [REDIS or "", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(
    REDIS is None and os.environ.get("NANOGPT_TEST_REDIS") != "required",
    reason="redis-server is not installed",
)
def test_celery_delivers_again(
    sandbox: BlockingSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages twice in the queue, and one whose worker is killed while it draws: no order is paid for twice."""
    assert REDIS is not None, "redis-server is required here"
    with redis(tmp_path) as broker:
        monkeypatch.setenv("BROKER", broker)
        monkeypatch.setenv("VISIBILITY_S", "1")
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "celery", "-A", "orders_celery", "worker", "--concurrency", "2"]
            return subprocess.Popen(
                [*command, "--without-gossip", "--without-mingle", "--loglevel", "ERROR"],
                env=environment,
                cwd=tmp_path,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

        send = (
            "import orders_celery as o\n"
            "for number in [0, 1, 2, 0, 1, 2, 3]: o.draw.delay(number, f'fox {number}')"
        )
        sandbox.set_faults(Fault("stall_before_headers", prompt_contains="fox 3"))
        subprocess.run([sys.executable, "-c", send], env=environment, check=True, cwd=tmp_path)
        images = tmp_path / "images"
        worker = start()
        try:
            until(lambda: len(sandbox.ledger.billed) == 4 and len(list(images.glob("*.png"))) == 3, 120)
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            sandbox.set_faults()
            worker = start()
            subprocess.run([sys.executable, "-c", send], env=environment, check=True, cwd=tmp_path)
            log = [
                sys.executable,
                "-m",
                "nanogpt_images",
                "ledger",
                "list",
                str(tmp_path / "paid.db"),
                "--json",
            ]

            def settled() -> bool:
                told = json.loads(subprocess.run(log, capture_output=True, check=False).stdout)
                states = {call["key"]: call["state"] for call in told["calls"]}
                return states.get("order-3") == "unknown" and len(states) == 4

            until(settled, 120)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    assert charges(sandbox) == {f"fox {number}": 1 for number in range(4)}
    assert sorted(path.name for path in images.iterdir()) == [f"order-{number}.png" for number in range(3)]
