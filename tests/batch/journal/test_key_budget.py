"""What each of several keys spent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import ImageRecord, Journal
from nanogpt_images.batch.journal.key_budget import KeyBudget
from nanogpt_images.batch.outcomes import Done, Failed, Refused
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import BudgetExceededError, Charge
from nanogpt_images.types.parameters import CountRule

MakeImage = Callable[..., ImageRecord]


async def admitted(journal: Journal, count: int) -> list[str]:
    row = BatchRow("a red fox", "m", count=count, key="fox")
    return [admission.unit.id for admission in await journal.admit([(row, CountRule())])]


async def test_each_key_has_its_own_sum(out: Path, image: MakeImage) -> None:
    """A key's account counts its costs and its open or unknown requests, and those of no other key."""
    async with await Journal.open(out, service="s") as journal:
        one, two = KeyBudget(journal, "0", label="key 0"), KeyBudget(journal, "1", label="key 1")
        done, unknown, refused, open_ = await admitted(journal, 4)
        await one.sent(done, 100)
        await one.record(done, Done(images=[image()], cost_nano=60))
        await one.sent(unknown, 100)
        await one.record(unknown, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="?"))
        await two.sent(refused, 100)
        await two.record(refused, Refused())
        await two.sent(open_, 30)
        assert (await one.committed_nano(), await two.committed_nano()) == (160, 30)
        assert (await journal.totals()).committed_nano == 190


async def test_a_key_stays_within_its_cap_over_all_runs(out: Path, image: MakeImage) -> None:
    """What a key spent in an earlier run counts; a request beyond its cap stays pending, for another key."""
    async with await Journal.open(out, service="s") as journal:
        first, second = await admitted(journal, 2)
        await KeyBudget(journal, "0", label="key 0", cap_nano=100).sent(first, 60)
        await KeyBudget(journal, "0", label="key 0", cap_nano=100).record(
            first, Done(images=[image()], cost_nano=60)
        )
    async with await Journal.open(out, service="s") as journal:
        await admitted(journal, 2)
        with pytest.raises(BudgetExceededError, match="key 0"):
            await KeyBudget(journal, "0", label="key 0", cap_nano=100).sent(second, 50)
        await KeyBudget(journal, "1", label="key 1", cap_nano=100).sent(second, 50)
        assert (await journal.totals()).committed_nano == 110


async def test_what_may_have_been_charged_to_a_key_counts_when_it_is_paid_for_again(out: Path) -> None:
    """A retry of an unknown request does not give its key's money back."""
    async with await Journal.open(out, service="s") as journal:
        (lost,) = await admitted(journal, 1)
        await KeyBudget(journal, "0", label="key 0").sent(lost, 60)
    async with await Journal.open(out, service="s") as journal:
        key = KeyBudget(journal, "0", label="key 0", cap_nano=100)
        assert await key.committed_nano() == 60
        await journal.reopen(unknown=True)
        assert await key.committed_nano() == 60
        await admitted(journal, 1)
        with pytest.raises(BudgetExceededError):
            await key.sent(lost, 60)


async def test_an_outcome_counts_for_the_key_that_sent_it_whoever_records_it(
    out: Path, image: MakeImage
) -> None:
    """The account of another key, or the journal itself, may record what became of a request."""
    async with await Journal.open(out, service="s") as journal:
        one, two = KeyBudget(journal, "0", label="key 0"), KeyBudget(journal, "1", label="key 1")
        by_other, by_none, refused, again = await admitted(journal, 4)
        for unit in (by_other, by_none, refused, again):
            await two.sent(unit, 100)
        await one.record(by_other, Done(images=[image()], cost_nano=60))
        await journal.record(by_none, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="?"))
        await one.record(refused, Refused())
        await one.record(again, Refused())
        assert (await one.committed_nano(), await two.committed_nano()) == (0, 160)
        await one.sent(again, 100)
        await two.record(again, Done(images=[image()], cost_nano=70))
        assert (await one.committed_nano(), await two.committed_nano()) == (70, 160)
        assert (await journal.totals()).committed_nano == 230


async def test_an_outcome_counts_for_its_key_after_a_restart(out: Path, image: MakeImage) -> None:
    """Which key sent a request is in the journal, not in the memory of who sent it."""
    async with await Journal.open(out, service="s") as journal:
        (unit,) = await admitted(journal, 1)
        await KeyBudget(journal, "1", label="key 1").sent(unit, 100)
    async with await Journal.open(out, service="s") as journal:
        one, two = KeyBudget(journal, "0", label="key 0"), KeyBudget(journal, "1", label="key 1")
        await one.found(unit)
        await one.record(unit, Done(images=[image()], cost_nano=60))
        assert (await one.committed_nano(), await two.committed_nano()) == (0, 60)
