"""The coordinator, call by call."""

from __future__ import annotations

import pytest

from nanogpt_images.batch.batch_options import BatchOptions
from nanogpt_images.batch.outcomes import Done, Failed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.distributed.coordinator import Coordinator
from nanogpt_images.distributed.messages import ApiKey, Job
from nanogpt_images.errors import BudgetExceededError, Charge
from nanogpt_images.money.nano import to_nano

from .conftest import MODEL, OpenSetup

REFUSED = Failed(charge=Charge.REJECTED, error_type="BadRequestError", error_text="no")


async def test_a_late_report_resolves_what_was_given_up(setup: OpenSetup) -> None:
    """A request of a worker that was taken for dead is unknown until that worker tells; told twice it counts once."""
    async with setup() as here:
        keys = [ApiKey(key=here.sandbox.api_key)]
        coordinator = Coordinator(
            Job(
                options=BatchOptions(out=here.out),
                base_url=here.sandbox.url,
                keys=keys,
                requests_per_second=None,
            )
        )
        try:
            await coordinator.begin(retry=False, unknown=False)
            await coordinator.offer(coordinator.epoch, [BatchRow("a fox", MODEL)])
            await coordinator.hello("w", 0, [])
            (task,) = (await coordinator.lease("w", 1)).tasks
            assert await coordinator.send("w", task.unit.id, task.price_nano)
            await coordinator.lost("w")
            assert (await coordinator.status()).totals.units[State.UNKNOWN] == 1
            assert not await coordinator.send("w", task.unit.id, task.price_nano)
            await coordinator.report("w", task, REFUSED)
            await coordinator.report("w", task, REFUSED)
            totals = (await coordinator.status()).totals
            assert (totals.units[State.UNKNOWN], totals.units[State.FAILED]) == (0, 1)
            assert totals.committed_nano == 0
        finally:
            await coordinator.aclose()


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_answer_that_comes_before_its_workers_hello_counts_for_its_key(
    setup: OpenSetup, restarted: bool
) -> None:
    """A worker was silent for too long, or does not know the coordinator yet: its key's cap holds all the same."""
    async with setup() as here:
        keys = [
            ApiKey(key=here.sandbox.api_key, budget_usd=0.05),
            ApiKey(key="sk-nano-other", budget_usd=0.05),
        ]
        job = Job(
            options=BatchOptions(out=here.out),
            base_url=here.sandbox.url,
            keys=keys,
            requests_per_second=None,
        )
        coordinator = Coordinator(job)
        price = to_nano(0.05)
        rows = [BatchRow(f"fox {number}", MODEL) for number in range(3)]
        try:
            await coordinator.begin(retry=False, unknown=False)
            await coordinator.offer(coordinator.epoch, rows)
            await coordinator.hello("w", 1, [])
            (first,) = (await coordinator.lease("w", 1)).tasks
            assert await coordinator.send("w", first.unit.id, price)
            if restarted:
                await coordinator.aclose()
                coordinator = Coordinator(job, restarted=True)
                await coordinator.status()
                await coordinator.offer(coordinator.epoch, rows[1:])
            else:
                await coordinator.lost("w")
            await coordinator.report("w", first, REFUSED)
            await coordinator.hello("v", 0, [])
            second, third = (await coordinator.lease("v", 2)).tasks
            assert await coordinator.send("v", second.unit.id, price)
            await coordinator.report("v", second, Done(images=(), cost_nano=price))
            with pytest.raises(BudgetExceededError, match="key 1"):
                await coordinator.send("v", third.unit.id, price)
            await coordinator.give_back("v", third.unit.id)
            await coordinator.hello("w", 1, [])
            (third,) = (await coordinator.lease("w", 1)).tasks
            assert await coordinator.send("w", third.unit.id, price)
        finally:
            await coordinator.aclose()
