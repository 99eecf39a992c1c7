"""Inline moderation: what the check costs is said, counted, and never taken for nothing."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import pytest
from fakes import connected

import nanogpt_images as ngi
from nanogpt_images.resources.prices.moderation_price import ModerationPrice
from nanogpt_images.sandbox import Fault
from nanogpt_images.wire.failures import decode_failure

CHECK_USD = 0.0002
PRICE_USD = 0.0001
ON = {"headers": {"moderation": "true"}}
COST = "x-nanogpt-inline-moderation-cost-usd"
POLICY = b'{"error": {"message": "blocked", "code": "content_policy_violation"}%s}'
CHECK = POLICY % b', "moderation": {"id": "m", "model": "x", "results": []}'


@pytest.mark.parametrize(
    ("status", "body", "headers", "charge", "cost_usd", "said"),
    [
        (
            400,
            CHECK,
            {COST: "0.0002"},
            ngi.Charge.CHARGED,
            0.0002,
            "was charged (0.0002 USD), the image was not",
        ),
        (400, CHECK, {}, ngi.Charge.CHARGED, None, "does not say how much"),
        (400, CHECK, {COST: "0"}, ngi.Charge.REJECTED, None, "Nothing was charged."),
        (400, POLICY % b"", {COST: "0.0002"}, ngi.Charge.CHARGED, 0.0002, "0.0002 USD"),
        (400, POLICY % b"", {}, ngi.Charge.REJECTED, None, "Nothing was charged."),
        (429, b"{}", {COST: "0.0002"}, ngi.Charge.CHARGED, 0.0002, "0.0002 USD"),
        (503, b"{}", {}, ngi.Charge.REJECTED, None, "Nothing was charged."),
        # What the generation cost is not known: the check alone is no sum.
        (500, b"{}", {COST: "0.0002"}, ngi.Charge.UNKNOWN, None, "It may have been charged."),
        (500, b'{"error": "it was billed"}', {COST: "0.0002"}, ngi.Charge.CHARGED, None, "It was charged."),
    ],
)
def test_what_a_failure_says_of_its_moderation(
    status: int,
    body: bytes,
    headers: dict[str, str],
    charge: ngi.Charge,
    cost_usd: float | None,
    said: str,
) -> None:
    """A check that blocked is charged, also where the amount is missing; "nothing" is said where it is known."""
    error = decode_failure(status, headers, body, target="m", paid=True)
    assert (error.charge, error.cost_usd) == (charge, cost_usd)
    assert said in str(error)
    assert ("Nothing was charged" in str(error)) is (charge is ngi.Charge.REJECTED)
    assert pickle.loads(pickle.dumps(error)).cost_usd == cost_usd


async def test_a_blocked_call_costs_its_check() -> None:
    """The client's budget loses the check, and no more."""
    async with connected(**ON, budget_usd=0.001) as (client, sandbox):
        for _ in range(3):
            with pytest.raises(ngi.ContentPolicyError, match=r"0\.0002 USD") as caught:
                await client.images.generate("a [flagged] fox", model="tiny-and-fast", resolution="64x64")
            assert caught.value.details["moderation"]
        assert sandbox.ledger.total_usd == pytest.approx(3 * CHECK_USD)
        # 0.0004 is left: two images and their check, but not three.
        with pytest.raises(ngi.BudgetExceededError):
            await client.images.generate("a fox", model="tiny-and-fast", resolution="64x64", n=3)
        await client.images.generate("a fox", model="tiny-and-fast", resolution="64x64", n=2)
        assert sandbox.ledger.total_usd == pytest.approx(0.001)


async def test_a_passed_check_is_in_the_cost() -> None:
    """The cost of a success is that of its images and of the check."""
    async with connected(**ON) as (client, sandbox):
        result = await client.images.generate("a fox", model="tiny-and-fast", resolution="64x64")
        assert result.cost_usd == pytest.approx(PRICE_USD + CHECK_USD)
        assert sandbox.ledger.total_usd == pytest.approx(PRICE_USD + CHECK_USD)
        assert sandbox.balance_usd() == pytest.approx(100 - PRICE_USD - CHECK_USD)


async def test_a_batch_books_the_checks(tmp_path: Path) -> None:
    """Report and ledger agree on what blocked and passed rows cost."""
    prompts = ["a fox", "a [flagged] fox", "an owl", "a [flagged] owl"]
    rows = [{"prompt": prompt, "model": "tiny-and-fast", "resolution": "64x64"} for prompt in prompts]
    async with connected(**ON) as (client, sandbox):
        report = await client.run_batch(rows, out=tmp_path, budget_usd=1)
        assert (report.done, report.failed, report.unknown) == (2, 2, 0)
        assert report.cost_usd == pytest.approx(sandbox.ledger.total_usd)
        assert report.cost_usd == pytest.approx(2 * (PRICE_USD + CHECK_USD) + 2 * CHECK_USD)


async def test_a_budget_holds_with_checks(tmp_path: Path) -> None:
    """Checks are set aside with the images, of a client and of a batch: no budget is passed, with whatever in flight."""
    rows = [
        {"prompt": f"fox {number}", "model": "tiny-and-fast", "resolution": "64x64"} for number in range(30)
    ]
    async with connected(**ON, sandbox={"latency_s": 0.01}) as (client, sandbox):
        report = await client.run_batch(rows, out=tmp_path, budget_usd=0.001, concurrency=16)
        assert report.cost_usd == pytest.approx(sandbox.ledger.total_usd)
        assert sandbox.ledger.total_usd == pytest.approx(3 * (PRICE_USD + CHECK_USD))
    async with connected(**ON, budget_usd=0.001) as (client, sandbox):
        calls = [client.images.generate("a", model="tiny-and-fast", resolution="64x64") for _ in range(30)]
        await asyncio.gather(*calls, return_exceptions=True)
        assert sandbox.ledger.total_usd == pytest.approx(3 * (PRICE_USD + CHECK_USD))


def test_what_is_set_aside() -> None:
    """An assumption until an answer tells, then the most that was seen; nothing where no check is asked for."""
    asked, not_asked = ModerationPrice({"Moderation": "some-model"}), ModerationPrice({"moderation": "off"})
    assert (asked.reserve_nano, not_asked.reserve_nano) == (200_000, 0)
    for price in (asked, not_asked):
        for usd in ("0.0001", "0.0003", "0.0002", "free"):
            price.observe({COST: usd})
    assert (asked.reserve_nano, not_asked.reserve_nano) == (300_000, 0)


@pytest.mark.parametrize("value", ["false", "off", "0", ""])
async def test_no_check_without_the_header(value: str) -> None:
    """Without the header, or with one that says no, nothing is checked or charged for it."""
    async with connected(headers={"moderation": value}) as (client, sandbox):
        result = await client.images.generate("a [flagged] fox", model="tiny-and-fast", resolution="64x64")
        assert result.cost_usd == sandbox.ledger.total_usd == PRICE_USD


async def test_two_models_of_moderation_conflict() -> None:
    """The sandbox refuses two different models, free of charge, as documented."""
    headers = {"moderation": "one", "moderation-model": "two"}
    async with connected(headers=headers) as (client, sandbox):
        with pytest.raises(ngi.BadRequestError, match="Nothing was charged") as caught:
            await client.images.generate("a fox", model="tiny-and-fast")
        assert caught.value.code == "conflicting_moderation_model"
        assert sandbox.ledger.total_usd == 0


async def test_a_refusal_without_moderation_costs_nothing() -> None:
    """The service's own policy refusal is free, and says so."""
    async with connected(Fault("content_policy")) as (client, _):
        with pytest.raises(ngi.ContentPolicyError, match="Nothing was charged"):
            await client.images.generate("a fox", model="tiny-and-fast")
