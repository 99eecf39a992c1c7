"""Durations, and the sums by model."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import ImageRecord, Journal, ModelTotals
from nanogpt_images.batch.outcomes import Done, Failed, Linked, SignedUrl
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.errors import Charge, ParameterError
from nanogpt_images.types.parameters import CountRule

MakeImage = Callable[..., ImageRecord]
ROWS = [(BatchRow(key, model, key=key), CountRule()) for key, model in zip("abcdef", "mmmmno", strict=True)]


async def fill(out: Path, image: MakeImage) -> list[str]:
    """Done after 10 s and 30 s, linked and then done, failed, unknown, not sent; the clock goes by tens of seconds."""
    clock = count(1_000, 10)
    async with await Journal.open(out, service=None, clock=lambda: float(next(clock))) as journal:
        units = [admission.unit.id for admission in await journal.admit(ROWS)]
        for unit in units[:5]:
            await journal.sent(unit, 100)
        await journal.record(units[0], Done(images=[image("a")], cost_nano=7))
        await journal.record(
            units[1], Linked(links=[SignedUrl(index=0, url="https://x.invalid/1")], cost_nano=8)
        )
        await journal.record(units[1], Done(images=[image("b")]))
        await journal.record(units[2], Done(images=[image("c")], cost_nano=9))
        for unit, charge in ((units[3], Charge.CHARGED), (units[4], Charge.UNKNOWN)):
            await journal.record(unit, Failed(charge=charge, error_type="E", error_text="t", cost_nano=5))
    return units


async def test_by_model(out: Path, image: MakeImage) -> None:
    """Each model has its requests, images, money, and the median of the seconds until its images were there."""
    await fill(out, image)
    async with await Journal.open(out, service=None, read_only=True) as journal:
        first, second, third = await journal.by_model()
        durations = [record.took_s async for record in journal.units()]
    assert durations[3:] == [None, None, None]
    assert durations[0] is not None
    assert first == ModelTotals(
        model="m",
        requests=4,
        done=3,
        failed=1,
        unknown=0,
        images=3,
        spent_nano=7 + 8 + 9 + 5,
        unknown_nano=0,
        median_s=sorted(filter(None, durations))[1],
    )
    assert (second.model, second.unknown, second.spent_nano, second.unknown_nano) == ("n", 1, 0, 100)
    assert (third.model, third.requests, third.images, third.median_s) == ("o", 1, 0, None)


async def test_a_download_is_no_part_of_the_duration(out: Path, image: MakeImage) -> None:
    """A request with signed URLs took until they were there, whenever they are downloaded."""
    now = 100.0
    async with await Journal.open(out, service=None, clock=lambda: now) as journal:
        (admission,) = await journal.admit(ROWS[:1])
        await journal.sent(admission.unit.id, 100)
        now = 104.0
        await journal.record(admission.unit.id, Linked(links=[SignedUrl(index=0, url="https://x.invalid/1")]))
        now = 500.0
        await journal.record(admission.unit.id, Done(images=[image("a")]))
        assert [record.took_s async for record in journal.units()] == [4.0]


async def test_what_was_recovered_has_no_duration(out: Path, image: MakeImage) -> None:
    """Nothing tells how long a request took whose images a later run finds."""
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit(ROWS[:1])
        await journal.sent(admission.unit.id, 100)
        await journal.record(admission.unit.id, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t"))
        await journal.record(admission.unit.id, Done(images=[image("a")]))
        assert [record.took_s async for record in journal.units()] == [None]


async def test_a_journal_without_the_times(out: Path, image: MakeImage) -> None:
    """A journal of an earlier version is read as it is, and gets the column when it is written to."""
    await fill(out, image)

    def columns() -> list[str]:
        with closing(sqlite3.connect(out / "journal.db")) as database:
            return [column[1] for column in database.execute("PRAGMA table_info(unit)")]

    with closing(sqlite3.connect(out / "journal.db")) as database:
        database.execute("ALTER TABLE unit DROP COLUMN sent_at")
    async with await Journal.open(out, service=None, read_only=True) as journal:
        assert [record.took_s async for record in journal.units()] == [None] * 6
        assert [each.median_s for each in await journal.by_model()] == [None] * 3
        assert (await journal.totals()).rows == 6
    assert "sent_at" not in columns()
    async with await Journal.open(out, service=None) as journal:
        await journal.reopen(unknown=True)
        (unit, *_) = [admission.unit.id async for admission in journal.pending()]
        await journal.sent(unit, 100)
    assert "sent_at" in columns()


async def test_remade(out: Path, image: MakeImage) -> None:
    """What is asked for again is pending whatever it came to, its costs stay spent or held, and nothing else is claimed."""
    units = await fill(out, image)
    async with await Journal.open(out, service=None) as journal:
        before = (await journal.totals()).committed_nano
        wanted = {units[0], units[3], units[4]}
        await journal.remake(wanted)
        claimed = [admission.unit.id async for admission in journal.pending(only=wanted)]
        assert claimed == [units[0], units[3], units[4]]
        assert (await journal.totals()).committed_nano == before
        await journal.sent(units[0], 100)
        await journal.record(units[0], Done(images=[image("again")], cost_nano=3))
        record, *_ = [record async for record in journal.units()]
        assert [kept.image.file for kept in record.images] == ["images/a.png", "images/again.png"]
        with pytest.raises(ParameterError, match=r"1 of 1 picked requests are not in"):
            await journal.remake({"0" * 32})


@pytest.mark.parametrize("links", [(), (SignedUrl(index=0, url="https://x.invalid/1"),)])
async def test_images_of_an_earlier_purchase_are_no_answer(
    out: Path, image: MakeImage, links: tuple[SignedUrl, ...]
) -> None:
    """A request that was done, was picked to be made again and ended unknown stays unknown: its old images are not the new."""
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit([(BatchRow("a", "m", key="a"), CountRule())])
        unit = admission.unit.id
        await journal.sent(unit, 100)
        await journal.record(unit, Done(images=[image("old")], cost_nano=5))
        await journal.remake({unit})
        _ = [found async for found in journal.pending(only={unit})]
        await journal.sent(unit, 100)
        lost = Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t", links=links, cost_nano=5)
        await journal.record(unit, lost)
    async with await Journal.open(out, service=None) as journal:
        assert await journal.settle() == 0
        assert await journal.reopen() == 0
        assert (await journal.totals()).units[State.UNKNOWN] == 1
        assert [found.kept async for found in journal.pending()] == [frozenset()] * len(links)
        if not links:
            await journal.reopen(unknown=True)
            assert [found.unit.id async for found in journal.pending()] == [unit]
            await journal.sent(unit, 100)
            await journal.record(
                unit, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t", images=[image("new")])
            )
            assert await journal.settle() == 1


async def test_what_can_be_downloaded_is_not_paid_for_again(out: Path) -> None:
    """A picked request whose signed URLs still hold stays as it is, and is claimed for its downloads."""
    link = SignedUrl(index=0, url="https://x.invalid/1")
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit(ROWS[:1])
        await journal.sent(admission.unit.id, 100)
        failure = Failed(charge=Charge.CHARGED, error_type="E", error_text="t", links=[link], cost_nano=5)
        await journal.record(admission.unit.id, failure)
    async with await Journal.open(out, service=None) as journal:
        await journal.remake({admission.unit.id})
        (claimed,) = [found async for found in journal.pending(only={admission.unit.id})]
        assert (claimed.state, claimed.links) == (State.FAILED, (link,))
