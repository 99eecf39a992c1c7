"""Rows that are divided otherwise than in an earlier run are not paid for anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes import unmarked
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.journal.admission import admit
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.batch.outcomes import Done, Failed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import unpriced
from nanogpt_images.errors import Charge
from nanogpt_images.types.parameters import CountRule

ONE, FOUR, FIXED = CountRule(), CountRule(maximum=4), CountRule(4, 4, 4)
RULES = st.sampled_from([ONE, FOUR, FIXED, CountRule(2, 3), CountRule(maximum=10), CountRule(2, 2, 2)])


def row(count: int) -> BatchRow:
    return BatchRow("a red fox", "m", count=count, key="fox")


async def opened(out: Path) -> Journal:
    return await Journal.open(out, service="sandbox")


async def run(
    out: Path, rows: list[tuple[BatchRow, CountRule]], *, pay: int | None = None
) -> list[int | None]:
    """One run: what it sends, of which it pays for the first *pay*, or for all; the rest stays pending."""
    async with await opened(out) as journal:
        claimed = [found.unit for found in await journal.admit(rows) if found.claimed]
        for unit in claimed[:pay]:
            await journal.sent(unit.id, 10)
            await journal.record(unit.id, Done(images=[], cost_nano=10))
    return [unit.n for unit in claimed]


async def test_a_rule_that_grew_pays_for_nothing_again(out: Path) -> None:
    """Four requests of one image are what a request of four would make."""
    assert await run(out, [(row(4), ONE)]) == [1, 1, 1, 1]
    assert await run(out, [(row(4), FOUR)]) == []
    assert await run(out, [(row(4), ONE)]) == []


async def test_a_rule_that_shrank_pays_for_nothing_again(out: Path) -> None:
    """A request of four is what four of one image would make, also where the model's count is now fixed."""
    assert await run(out, [(row(4), FOUR)]) == [4]
    for rule in (ONE, FIXED, CountRule(2, 2, 2)):
        assert await run(out, [(row(4), rule)]) == []


async def test_a_fixed_count_that_changed(out: Path) -> None:
    """What a request made then counts, not what it would make now."""
    assert await run(out, [(row(4), FIXED)]) == [None]
    assert await run(out, [(row(4), CountRule(2, 2, 2))]) == []


async def test_only_what_is_missing_is_asked_for(out: Path) -> None:
    """Two of four are paid for, so two are missing; the two old requests that were never sent are dropped."""
    assert await run(out, [(row(4), ONE)], pay=2) == [1, 1, 1, 1]
    assert await run(out, [(row(4), FIXED)]) == [None]
    async with await opened(out) as journal:
        totals = await journal.totals()
        assert [found async for found in journal.pending()] == []
    assert (totals.units[State.DONE], totals.units[State.PENDING], totals.rows) == (3, 0, 1)


async def test_open_requests_are_divided_anew(out: Path) -> None:
    """What was never sent is asked for in as few requests as the model now takes."""
    assert await run(out, [(row(4), ONE)], pay=1) == [1, 1, 1, 1]
    assert await run(out, [(row(4), FOUR)]) == [3]


async def test_a_raised_count_asks_for_the_difference(out: Path) -> None:
    """One image is there, three are wanted: two are asked for, under names of their own."""
    await run(out, [(row(1), FOUR)])
    async with await opened(out) as journal:
        first, second = [found.unit for found in await journal.admit([(row(3), FOUR)])]
    assert (first.n, second.n) == (1, 2)
    stems = [first.image_stem(0), second.image_stem(0), second.image_stem(1)]
    assert [unmarked(stem) for stem in stems] == ["fox", "fox-1", "fox-2"]


async def test_what_may_have_been_charged_counts(out: Path) -> None:
    """An unknown outcome, or a charged failure, is not replaced by a new request; only a retry pays again."""
    async with await opened(out) as journal:
        one, other = [found.unit for found in await journal.admit([(row(2), ONE)])]
        await journal.sent(one.id, 10)
        await journal.record(one.id, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="lost"))
        await journal.sent(other.id, 10)
        await journal.record(other.id, Failed(charge=Charge.CHARGED, error_type="E", error_text="no image"))
    assert await run(out, [(row(2), FOUR)]) == []


async def test_identical_rows_share_what_is_there(out: Path) -> None:
    """Each image that was paid for stands for one row alone."""
    await run(out, [(row(2), ONE)])
    assert await run(out, [(row(2), FOUR), (row(2), FOUR)]) == [2]
    assert await run(out, [(row(2), FOUR), (row(2), FOUR)]) == []


def bought_in_a_run(out: Path, counts: list[int], rule: CountRule, *, pay: int | None = None) -> int:
    """Images of the requests that a run of identical rows pays for: the first *pay*, or all that it claims."""
    store = Store(out, service="sandbox")
    with store.transaction():
        admissions = admit(store, [(row(count), rule) for count in counts], unpriced)
        claimed = [found.unit for found in admissions if found.claimed][:pay]
        for unit in claimed:
            store.connection.execute("UPDATE unit SET state = 'done' WHERE id = ?", (bytes.fromhex(unit.id),))
        stored = store.connection.execute("SELECT sum(images) FROM unit WHERE state = 'done'").fetchone()[0]
    store.close()
    assert len({found.unit.id for found in admissions}) == len(admissions)
    assert pay is not None or stored >= sum(counts)
    return sum(unit.images for unit in claimed)


@settings(max_examples=100)
@given(count=st.integers(1, 9), rules=st.lists(RULES, min_size=2, max_size=4), pay=st.integers(0, 4))
def test_a_row_is_paid_for_once(
    tmp_path_factory: pytest.TempPathFactory, count: int, rules: list[CountRule], pay: int
) -> None:
    """
    However a model's rule changes: a run that follows one that was broken off anywhere buys what is missing, with
    the surplus that its rule forces, and later runs buy nothing.
    """
    out = tmp_path_factory.mktemp("job")
    first, second, *later = rules
    made = bought_in_a_run(out, [count], first, pay=pay)
    more = bought_in_a_run(out, [count], second)
    assert more <= max(0, count - made) + max(second.minimum, second.fixed or 0) - 1
    assert [bought_in_a_run(out, [count], rule) for rule in later] == [0] * len(later)


@settings(max_examples=60)
@given(
    counts=st.builds(lambda count, rows: [count] * rows, st.integers(1, 9), st.integers(2, 4)),
    rules=st.lists(RULES, min_size=2, max_size=4),
)
def test_identical_rows_are_paid_for_once(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], rules: list[CountRule]
) -> None:
    """A run of identical rows buys what they ask for, one request's surplus at the most; it serves any later rule."""
    out = tmp_path_factory.mktemp("job")
    first, *later = rules
    made = bought_in_a_run(out, counts, first)
    assert sum(counts) <= made < sum(counts) + max(first.minimum, first.fixed or 0)
    assert [bought_in_a_run(out, counts, rule) for rule in later] == [0] * len(later)


async def test_an_attempt_that_may_have_been_charged_is_not_forgotten(out: Path) -> None:
    """A request that is to be paid for again keeps what its first attempt may have cost, under any rule."""
    async with await opened(out) as journal:
        (unit,) = [found.unit for found in await journal.admit([(row(4), FOUR)])]
        await journal.sent(unit.id, 10)
        await journal.record(unit.id, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="lost"))
        await journal.reopen(unknown=True)
    assert await run(out, [(row(4), ONE)]) == [4]
    async with await opened(out) as journal:
        assert (await journal.totals()).unknown_nano == 10


async def test_a_lowered_count_pays_only_for_what_is_missing(out: Path) -> None:
    """Of nine images five are there and seven are wanted now: two are asked for, and the old request is dropped."""
    async with await opened(out) as journal:
        units = [found.unit for found in await journal.admit([(row(9), FOUR)])]
        for unit in (units[0], units[2]):
            await journal.sent(unit.id, 10)
            await journal.record(unit.id, Done(images=[], cost_nano=10))
    assert [unit.n for unit in units] == [4, 4, 1]
    assert await run(out, [(row(7), FOUR)]) == [2]
    async with await opened(out) as journal:
        assert (await journal.totals()).expected_images == 7


async def test_the_first_divides_a_row_for_all(out: Path) -> None:
    """What one process means to send binds another one that joined, and is free again only when both are gone."""
    async with await opened(out) as first:
        (sent,) = await first.admit([(row(4), FOUR)])
        async with await Journal.open(out, service="sandbox", join=True) as other:
            (seen,) = await other.admit([(row(4), ONE)])
            assert (seen.unit.id, seen.claimed) == (sent.unit.id, False)
            (more, *_) = found = await other.admit([(row(2), ONE)])
            assert [admission.unit.n for admission in found] == [1, 1]
        (taken,) = await first.admit([(row(1), FOUR)])
        assert (taken.unit.id, taken.claimed) == (more.unit.id, True)
    assert await run(out, [(row(4), ONE)]) == [1, 1, 1, 1]


async def test_the_images_that_a_rule_forces_serve_identical_rows(out: Path) -> None:
    """A request that always makes four makes those of four rows of one."""
    assert await run(out, [(row(1), FIXED)] * 5) == [None, None]


async def test_the_images_that_a_later_rule_forces_serve_identical_rows(out: Path) -> None:
    """Also where what was never sent is divided again: its surplus is not bought a second time."""
    assert await run(out, [(row(1), ONE)], pay=0) == [1]
    assert await run(out, [(row(1), FIXED)] * 5) == [None, None]
    assert await run(out, [(row(1), ONE)] * 8) == []


async def test_a_journal_of_an_earlier_release(out: Path) -> None:
    """Where the end of an ID was made of `n` and the number of equal requests, its units count like any other."""
    assert await run(out, [(row(6), FOUR)]) == [4, 2]
    with closing(sqlite3.connect(out / "journal.db")) as connection, connection:
        for n in (4, 2):
            old = bytes.fromhex(row(6).digest[:18] + f"{n:06x}{0:08x}")
            connection.execute("UPDATE unit SET id = ? WHERE n = ?", (old, n))
    assert await run(out, [(row(6), FOUR)]) == []
    assert await run(out, [(row(9), FOUR), (row(2), ONE)]) == [3, 1, 1]
    assert await run(out, [(row(2), ONE), (row(9), FOUR)]) == []
