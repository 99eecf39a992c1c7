"""A client with `budget_usd` never spends more, whatever happens at once."""

from __future__ import annotations

import asyncio

import pytest

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox

FOX = {"prompt": "a red fox", "model": "gpt-image-2", "resolution": "1024x1024"}
PRICE_USD = 0.06551  # gpt-image-2 at 1024x1024, as the sandbox's catalogue has it


def _client(sandbox: Sandbox, **options: object) -> ngi.AsyncClient:
    return ngi.AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None, **options)  # type: ignore[arg-type]


async def test_concurrent_calls_stay_within_the_budget() -> None:
    """Of twenty calls at once as many succeed as the budget pays for, and the others send nothing."""
    async with (
        Sandbox(requests_per_second=None) as sandbox,
        _client(sandbox, budget_usd=5 * PRICE_USD) as client,
    ):
        calls = [
            client.images.generate(f"fox {number}", model="gpt-image-2", resolution="1024x1024")
            for number in range(20)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, ngi.BudgetExceededError)]
        assert len(refused) == 15
        assert {error.charge for error in refused} == {ngi.Charge.NOT_SENT}
        assert len(sandbox.ledger.posts) == 5
        assert sandbox.ledger.total_usd <= 5 * PRICE_USD + 1e-9


@pytest.mark.parametrize(
    ("fault", "second_call_fits"),
    [("400", True), ("500_not_billed", True), ("reset_after_body", False), ("500_billed", False)],
)
async def test_what_a_failure_leaves_of_the_budget(fault: str, second_call_fits: bool) -> None:
    """A refusal gives its reservation back; what was or may have been charged keeps it."""
    async with Sandbox(requests_per_second=None, faults=[Fault(fault, times=1)]) as sandbox:
        async with _client(sandbox, budget_usd=PRICE_USD, retry=ngi.RetryPolicy.none()) as client:
            with pytest.raises(ngi.NanoGPTError):
                await client.images.generate("a red fox", model="gpt-image-2", resolution="1024x1024")
            again = client.images.generate("a red fox", model="gpt-image-2", resolution="1024x1024")
            if second_call_fits:
                assert (await again).images
            else:
                with pytest.raises(ngi.BudgetExceededError):
                    await again


async def test_cancelled_call_counts_as_spent_once_it_was_sent() -> None:
    """A call that is cancelled while the service works may be charged, so its price is no longer available."""
    async with Sandbox(requests_per_second=None, latency_s=5.0) as sandbox:
        async with _client(sandbox, budget_usd=PRICE_USD) as client:
            call = asyncio.ensure_future(client.images.generate("a red fox", model="gpt-image-2"))
            while not sandbox.ledger.posts:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(ngi.BudgetExceededError):
                await client.images.generate("a red fox", model="gpt-image-2")


async def test_policy_that_may_pay_twice_still_keeps_the_budget() -> None:
    """With `RetryPolicy.documented()` each repeated unknown attempt takes its price out of the budget."""
    policy = ngi.RetryPolicy(repeat_unknown=True, initial_delay_s=0, max_attempts=10)
    async with Sandbox(requests_per_second=None, faults=[Fault("reset_after_body")]) as sandbox:
        async with _client(sandbox, budget_usd=3 * PRICE_USD, retry=policy) as client:
            with pytest.raises(ngi.OutcomeUnknownError):
                await client.images.generate("a red fox", model="gpt-image-2", resolution="1024x1024")
        assert len(sandbox.ledger.posts) == 3


async def test_an_attempt_that_may_have_been_charged_stays_spent_when_the_next_one_succeeds() -> None:
    """Two prices are gone, although one answer came: a third does not fit."""
    policy = ngi.RetryPolicy(repeat_unknown=True, initial_delay_s=0)
    async with Sandbox(requests_per_second=None, faults=[Fault("reset_after_body", times=1)]) as sandbox:
        async with _client(sandbox, budget_usd=2 * PRICE_USD, retry=policy) as client:
            assert (await client.images.generate(**FOX)).images
            with pytest.raises(ngi.BudgetExceededError):
                await client.images.generate(**FOX)
        assert len(sandbox.ledger.posts) == 2


async def test_the_dearest_reading_of_a_request_has_to_fit() -> None:
    """Where two fields name a resolution the service may go by either, so the price of the documented one is not enough."""
    async with Sandbox() as sandbox:
        async with _client(sandbox, budget_usd=0.015) as client:
            assert (await client.catalog.get("krea-v2/turbo")).prices.bounds(None) == (0.008, 0.016)
            with pytest.raises(ngi.BudgetExceededError):
                await client.images.generate(
                    "a red fox", model="krea-v2/turbo", resolution="1k", extra={"size": "2k"}
                )
        assert not sandbox.ledger.posts


async def test_unknown_price_is_refused_or_assumed() -> None:
    """Without a price, of the service either, a budget cannot be kept: the call is refused unless a price is assumed."""
    async with Sandbox(requests_per_second=None, faults=[Fault("404", route="estimate")]) as sandbox:
        async with _client(sandbox) as client:
            unpriced = [
                model for model in await client.catalog.list() if not model.prices and not model.references
            ]
        model = next(model for model in unpriced if "image" not in model.input_modalities)
        async with _client(sandbox, budget_usd=1) as client:
            with pytest.raises(ngi.BudgetExceededError, match="no price is known"):
                await client.images.generate("a red fox", model=model.id)
        async with _client(sandbox, budget_usd=1, assume_price_usd=0.5) as client:
            assert (await client.images.generate("a red fox", model=model.id)).images


def test_negative_budget_is_refused() -> None:
    """A budget below zero is a mistake of the caller's."""
    with pytest.raises(ngi.ConfigurationError, match="budget_usd"):
        ngi.AsyncClient(budget_usd=-1)
