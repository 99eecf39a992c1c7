"""What the package logs: enough to find out what happened, never the key."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from fakes import connected

from nanogpt_images import NanoGPTError, RetryPolicy
from nanogpt_images.sandbox import Fault

MODEL = "tiny-and-fast"


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


async def test_an_attempt_is_a_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Method, address, model, attempt, status, time and request ID; with a failure its class and charge."""
    async with connected(Fault("content_policy", skip=1)) as (client, sandbox):
        await client.catalog.list()
        with caplog.at_level(logging.DEBUG, "nanogpt_images"):
            result = await client.images.generate("a fox", model=MODEL)
            with pytest.raises(NanoGPTError):
                await client.images.generate("a fox", model=MODEL)
    fine, refused = lines(caplog, logging.DEBUG)
    assert fine.startswith(f"POST {sandbox.url}/api/v1/images ({MODEL}), attempt 1: 200 in 0.")
    assert fine.endswith(f"s, request {result.request_id}")
    assert refused.endswith(", ContentPolicyError, rejected")


async def test_a_harmless_repeat_is_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """The reason and the wait are in the line."""
    async with connected(Fault("500_not_billed", times=1)) as (client, _):
        with caplog.at_level(logging.INFO, "nanogpt_images"):
            await client.images.generate("a fox", model=MODEL)
    (line,) = lines(caplog, logging.INFO)
    assert line.startswith("attempt 1 failed, the next one follows in 0.0 s:")
    assert "answered 500" in line
    assert not lines(caplog, logging.WARNING)


async def test_a_repeat_that_may_pay_twice_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A policy that repeats what may have been charged says so each time."""
    retry = RetryPolicy(repeat_unknown=True, initial_delay_s=0)
    async with connected(Fault("reset_after_body", times=1), retry=retry) as (client, _):
        with caplog.at_level(logging.INFO, "nanogpt_images"):
            await client.images.generate("a fox", model=MODEL)
    (line,) = lines(caplog, logging.WARNING)
    assert "may have been charged" in line


async def test_budgets_that_stop_something_are_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """The client's budget, and a batch that stops at its own."""
    async with connected(budget_usd=0) as (client, _):
        with caplog.at_level(logging.INFO, "nanogpt_images"):
            with pytest.raises(NanoGPTError):
                await client.images.generate("a fox", model=MODEL)
            await client.run_batch([{"prompt": "a fox", "model": MODEL}], budget_usd=0)
    by_client, by_batch = lines(caplog, logging.INFO)
    assert by_client.startswith("the client's budget is used up: ")
    assert by_batch.startswith("the batch stops: ")


async def test_a_batch_that_goes_through_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An end that is no stop is no news."""
    async with connected() as (client, _):
        with caplog.at_level(logging.INFO, "nanogpt_images"):
            await client.run_batch([{"prompt": "a fox", "model": MODEL}])
    assert not caplog.records


async def test_the_key_and_the_prompt_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at DEBUG, and not where the service refuses the key."""
    async with connected(Fault("401", skip=1), Fault("reset_after_body", every=2)) as (client, sandbox):
        with caplog.at_level(logging.DEBUG, "nanogpt_images"):
            for _ in range(3):
                try:
                    await client.images.generate("a very private fox", model=MODEL)
                except NanoGPTError:
                    continue
    assert len(lines(caplog, logging.DEBUG)) == 5
    assert sandbox.api_key not in caplog.text
    assert "private" not in caplog.text


def test_nothing_is_printed_unless_logging_is_configured() -> None:
    """A warning of the package does not reach stderr by itself."""
    code = "import nanogpt_images.client, logging; logging.getLogger('nanogpt_images.batch').warning('boom')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
