"""The coordinator, call by call."""

from __future__ import annotations

from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.errors import Charge
from nanogpt_images.integrations.ray.coordinator import Coordinator
from nanogpt_images.integrations.ray.messages import ApiKey, Job
from nanogpt_images.integrations.ray.reports import Failed

from .conftest import MODEL, OpenSetup

REFUSED = Failed(charge=Charge.REJECTED, error_type="BadRequestError", error_text="no")


async def test_a_late_report_resolves_what_was_given_up(setup: OpenSetup) -> None:
    """A request of a worker that was taken for dead is unknown until that worker tells; told twice it counts once."""
    async with setup() as here:
        keys = [ApiKey(key=here.sandbox.api_key)]
        coordinator = Coordinator(
            Job(
                out=here.out,
                service="loopback",
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
