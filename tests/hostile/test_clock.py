"""A wall clock that is set back: what was recorded stays recorded, and nothing waits for a time that has been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nanogpt_images import AsyncClient, Charge, RateLimitError, RetryPolicy
from nanogpt_images.batch.journal import Journal, SignedUrl
from nanogpt_images.batch.outcomes import Done, Linked
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.sandbox import Fault, Sandbox
from nanogpt_images.types.parameters import CountRule

DAY_S = 86_400.0


def backwards(start: float) -> Iterator[float]:
    """A clock that is a day earlier each time it is read."""
    while True:
        yield start
        start -= DAY_S


async def test_a_journal_does_not_trust_the_clock(tmp_path: Path) -> None:
    """Done stays done, unknown stays unknown and links stay links, in whatever order their times are."""
    clock = backwards(1_790_000_000.0).__next__
    rows = [(BatchRow(f"fox {number}", "m"), CountRule()) for number in range(4)]
    async with await Journal.open(tmp_path, service=None, clock=clock) as journal:
        done, unknown, linked, _ = [found.unit.id for found in await journal.admit(rows)]
        for unit_id in (done, unknown, linked):
            await journal.sent(unit_id, 10)
        await journal.record(done, Done(images=[], cost_nano=10))
        await journal.record(linked, Linked(links=[SignedUrl(index=0, url="https://host/1")], cost_nano=10))
    async with await Journal.open(tmp_path, service=None, clock=clock) as journal:
        assert len(await journal.holders()) == 1
        found = await journal.admit(rows)
        assert [admission.state for admission in found] == [
            State.DONE,
            State.UNKNOWN,
            State.LINKED,
            State.PENDING,
        ]
        assert [admission.claimed for admission in found] == [False, False, True, True]
        assert [ending.charge async for ending in journal.unknowns()] == [Charge.UNKNOWN]
        assert (await journal.totals()).committed_nano == 30


async def test_a_date_to_wait_for_is_bounded() -> None:
    """A Retry-After date that lies far ahead, because this clock was set back, is not slept through."""
    ahead = datetime.now(UTC).timestamp() + DAY_S
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with Sandbox(requests_per_second=None, clock=lambda: ahead, faults=[Fault("429_date")]) as sandbox:
        policy = RetryPolicy(max_attempts=2)
        async with AsyncClient(
            sandbox.api_key, sandbox.url, requests_per_second=None, retry=policy
        ) as client:
            client._sender._sleep = client._sender.keys.lanes[0].limiter._sleep = sleep
            with pytest.raises(RateLimitError) as caught:
                await client.images.generate("a fox", model="tiny-and-fast")
    assert caught.value.charge is Charge.REJECTED
    assert caught.value.retry_after_s > policy.max_retry_after_s
    assert waits == []
