"""How rows become units of the journal: counting, order, claims."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.journal.admission import admit
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.batch.outcomes import Done, Refused
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import Unit, unpriced
from nanogpt_images.types.parameters import CountRule

RULE = CountRule(maximum=4)
ROWS = st.lists(
    st.builds(BatchRow, st.sampled_from(["a", "b", "c"]), st.just("m"), count=st.integers(1, 9)), max_size=8
)


def admitted(out: Path, rows: list[BatchRow], chunk: int) -> list[tuple[str, bool]]:
    """IDs and claims of one run over *rows*, *chunk* at a time."""
    store = Store(out, service="sandbox")
    found = []
    for start in range(0, len(rows), chunk):
        with store.transaction():
            found += admit(store, [(row, RULE) for row in rows[start : start + chunk]], unpriced)
    with store.transaction():
        store.connection.execute("UPDATE unit SET state = 'done' WHERE state = 'pending'")
    store.close()
    return [(admission.unit.id, admission.claimed) for admission in found]


@settings(max_examples=25)
@given(rows=ROWS, chunks=st.tuples(st.integers(1, 4), st.integers(1, 4)), data=st.data())
def test_a_shuffled_rerun_finds_everything_done(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[BatchRow],
    chunks: tuple[int, int],
    data: st.DataObject,
) -> None:
    """The same rows in another order and other chunks are the same units: nothing is claimed again."""
    out = tmp_path_factory.mktemp("order")
    first = admitted(out, rows, chunks[0])
    second = admitted(out, data.draw(st.permutations(rows)), chunks[1])
    assert sorted(identity for identity, _ in first) == sorted(identity for identity, _ in second)
    assert len({identity for identity, _ in first}) == len(first)
    assert not any(claimed for _, claimed in second)


async def test_identical_rows_are_told_apart(out: Path) -> None:
    """The second of two equal rows is another unit with another name, also from another chunk."""
    row = (BatchRow("a fox", "m", key="fox"), RULE)
    async with await Journal.open(out, service=None) as journal:
        names = [
            admission.unit.name for admission in await journal.admit([row, row]) + await journal.admit([row])
        ]
        assert (await journal.totals()).rows == 3
    assert names == ["fox", "fox-r2", "fox-r3"]


async def test_a_raised_count_pays_for_the_difference(out: Path) -> None:
    """A row whose count grew keeps its units and gets new ones for what is missing."""
    async with await Journal.open(out, service=None) as journal:
        before = await journal.admit([(BatchRow("a", "m", count=8, key="k"), RULE)])
    async with await Journal.open(out, service=None) as journal:
        after = await journal.admit([(BatchRow("a", "m", count=12, key="k"), RULE)])
        assert (await journal.totals()).units[State.PENDING] == 3
    assert [admission.unit.id for admission in after[:2]] == [admission.unit.id for admission in before]


async def test_a_known_unit_keeps_its_place(out: Path) -> None:
    """Files are named by a unit's place in its row, so a smaller count does not move what exists."""
    async with await Journal.open(out, service=None) as journal:
        wide = await journal.admit([(BatchRow("a", "m", count=6, key="k"), RULE)])
        await journal.sent(wide[1].unit.id, 10)
        await journal.record(wide[1].unit.id, Done(images=[], cost_nano=10))
    async with await Journal.open(out, service=None) as journal:
        (narrow,) = await journal.admit([(BatchRow("a", "m", count=2, key="k"), RULE)])
    two = wide[1].unit
    assert (narrow.unit.id, narrow.unit.n) == (two.id, 2)
    assert narrow.unit.image_stem(0) == two.image_stem(0) == f"k-4-{two.mark}"


async def test_rows_come_back_whole(out: Path) -> None:
    """What the journal hands out for a retry is the row that went in, parameters and all."""
    row = BatchRow("ein Fuchs 🦊", "m", count=2, key="k", route="openai", size="1k", nested={"a": [1, None]})
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit([(row, RULE)])
    async with await Journal.open(out, service=None) as journal:
        (found,) = [found async for found in journal.pending()]
    assert found.unit == admission.unit
    assert found.unit.row == row


async def test_pending_goes_through_everything_once(out: Path) -> None:
    """However small its chunks, the walk over open units yields each of them once."""
    async with await Journal.open(out, service=None) as journal:
        await journal.admit([(BatchRow(f"{number}", "m"), RULE) for number in range(7)])
    async with await Journal.open(out, service=None) as journal:
        prompts = [found.unit.row.prompt async for found in journal.pending(chunk=2)]
        assert prompts == [f"{number}" for number in range(7)]
        assert [found async for found in journal.pending()] == []


def priced(unit: Unit) -> int | None:
    return 7 * unit.images if unit.part else None


async def test_planned_money_moves_with_its_units(out: Path) -> None:
    """What is planned stays planned; what is to come is for the units still to be sent; the unpriced are counted."""
    async with await Journal.open(out, service=None) as journal:
        rows = [(BatchRow("a", "m", count=12), RULE)]
        units = [found.unit for found in await journal.admit(rows, price=priced)]
        before = await journal.totals()
        await journal.sent(units[1].id, 40)
        after = await journal.totals()
    async with await Journal.open(out, service=None) as journal:
        await journal.admit(rows, price=priced)
        again = await journal.totals()
    assert (before.planned_nano, before.to_come_nano, before.unpriced_units) == (56, 56, 1)
    assert (after.planned_nano, after.to_come_nano, after.unpriced_units) == (56, 28, 1)
    assert (again.planned_nano, again.unpriced_units) == (56, 1)


async def test_tallies_agree_with_the_units(out: Path) -> None:
    """The kept sums are what adding up all units gives."""
    async with await Journal.open(out, service=None) as journal:
        units = [
            found.unit for found in await journal.admit([(BatchRow("a", "m", count=9), RULE)], price=priced)
        ]
        for unit in units[:2]:
            await journal.sent(unit.id, 11)
        await journal.record(units[0].id, Refused())
        totals = await journal.totals()
        added = await journal._run(
            lambda store: store.connection.execute(
                "SELECT sum(part = 0), count(*), sum(images), sum(reserved_nano), sum(planned_nano) FROM unit"
            ).fetchone()
        )
    assert added == (
        totals.rows,
        sum(totals.units.values()),
        totals.expected_images,
        totals.reserved_nano,
        totals.planned_nano,
    )
