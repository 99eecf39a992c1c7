"""Sandboxes for hostile days, and scripts in interpreters of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import attrs
import pytest

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

PREAMBLE = """
import asyncio, gc, json, os, sys, threading, time, urllib.request
import nanogpt_images as ngi
url, key, out = sys.argv[1:4]
def one(client, prompt="a red fox"):
    return len(client.images.generate(prompt, model="tiny-and-fast").images)
def until_in_flight(count):
    found = 0
    while found < count:
        with urllib.request.urlopen(f"{url}/_sandbox/ledger?entries=0") as answer:
            found = json.load(answer)["in_flight"]
async def aone(client):
    return len((await client.images.generate("a red fox", model="tiny-and-fast")).images)
"""


@attrs.frozen
class Ended:
    """How a script came to its end."""

    code: int
    said: list[str]
    errors: str


@pytest.fixture
def sandbox() -> Iterator[BlockingSandbox]:
    """A sandbox that never answers a prompt with "for ever" in it."""
    stall = Fault("stall_before_headers", prompt_contains="for ever")
    with Sandbox.in_thread(requests_per_second=None, faults=[stall]) as running:
        yield running


@pytest.fixture
def run_script(sandbox: BlockingSandbox, tmp_path: object) -> Callable[..., Ended]:
    """Runs a script with all warnings as errors; one that hangs fails the test."""

    def run(script: str, *options: str) -> Ended:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOGPT_")}
        interpreter = options or (sys.executable, "-X", "dev", "-W", "error")
        arguments = (sandbox.url, sandbox.api_key, f"{tmp_path}/out")
        done = subprocess.run(
            [*interpreter, "-c", PREAMBLE + script, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
        # Debugging asyncio reports slow steps; this machine is slow, too.
        errors = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
        return Ended(done.returncode, done.stdout.splitlines(), "\n".join(errors))

    return run


@pytest.fixture(scope="session")
def service() -> Iterator[BlockingSandbox]:
    """One sandbox for all; in a thread of its own, so that what this loop and this thread hold is the client's alone."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        yield sandbox
