"""A row as paid requests."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.units import Unit, units_of
from nanogpt_images.parameters import CountRule, split_count

RULES = st.one_of(
    st.builds(CountRule, fixed=st.integers(1, 6)),
    st.tuples(st.integers(1, 5), st.integers(0, 5)).map(lambda t: CountRule(t[0], t[0] + t[1])),
)
ROWS = st.lists(
    st.builds(BatchRow, st.sampled_from("abc"), st.just("m"), count=st.integers(1, 12)), max_size=12
)


def in_one_pass(rows: Iterable[BatchRow], rule: CountRule) -> list[Unit]:
    seen = Counter[tuple[str, int | None]]()

    def occurrence(row: BatchRow, n: int | None) -> int:
        seen[row.digest, n] += 1
        return seen[row.digest, n] - 1

    return [unit for row in rows for unit in units_of(row, rule, occurrence=partial(occurrence, row))]


@given(st.integers(1, 40), RULES)
def test_requests_are_those_of_split_count(count: int, rule: CountRule) -> None:
    """A row makes the requests of `split_count`, whose images follow each other without gap or overlap."""
    units = in_one_pass([BatchRow("a", "m", count=count)], rule)
    assert [unit.n for unit in units] == split_count(count, rule)
    assert [(unit.part, unit.parts) for unit in units] == [(i, len(units)) for i in range(len(units))]
    indexes = [unit.first_index + i for unit in units for i in range(unit.images)]
    assert indexes == list(range(len(indexes)))
    assert len(indexes) >= count


@given(ROWS, RULES, st.randoms())
def test_the_order_of_rows_does_not_change_the_ids(
    rows: list[BatchRow], rule: CountRule, random: Random
) -> None:
    """Whatever the order of a manifest, the set of IDs is the same, and no ID occurs twice."""
    shuffled = sorted(rows, key=lambda row: random.random())
    ids = [unit.id for unit in in_one_pass(rows, rule)]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {unit.id for unit in in_one_pass(shuffled, rule)}


@given(st.integers(1, 12), st.integers(1, 4), RULES)
def test_every_image_has_a_name_of_its_own(count: int, copies: int, rule: CountRule) -> None:
    """Images of identical rows, and images beyond the expected number, never share a file stem."""
    units = in_one_pass([BatchRow("a", "m", count=count, key="fox")] * copies, rule)
    stems = [unit.image_stem(i) for unit in units for i in range(unit.images + 2)]
    assert len(set(stems)) == len(stems)


def test_a_greater_count_keeps_the_ids_of_unchanged_requests() -> None:
    """Raising a row's count from 4 to 10 keeps the request that was paid for and adds two."""
    rule = CountRule(1, 4)
    before = {unit.id for unit in in_one_pass([BatchRow("a", "m", count=4)], rule)}
    after = {unit.id for unit in in_one_pass([BatchRow("a", "m", count=10)], rule)}
    assert before < after
    assert len(after) == 3


def test_names_say_index_and_replica() -> None:
    """
    An only image is `fox`; several are `fox-0` …; the second identical row adds `-r2`; a surplus image says so.

    Each name ends in the mark of its request.
    """
    one = CountRule(1, 1)
    first, second = in_one_pass([BatchRow("a", "m", key="fox")] * 2, one)
    assert [first.image_stem(0), first.image_stem(1)] == [f"fox-{first.mark}", f"fox-extra1-{first.mark}"]
    assert second.image_stem(0) == f"fox-r2-{second.mark}"
    units = in_one_pass([BatchRow("a", "m", key="fox", count=5)] * 2, CountRule(1, 4))
    marked = zip(["fox-0", "fox-4", "fox-r2-0", "fox-r2-4"], units, strict=True)
    assert [unit.image_stem(0) for unit in units] == [f"{stem}-{unit.mark}" for stem, unit in marked]
    assert units[0].image_stem(5) == f"fox-3-extra2-{units[0].mark}"
    pair = in_one_pass([BatchRow("a", "m", key="fox", count=2)], one)
    assert [unit.image_stem(0).rpartition("-")[0] for unit in pair] == ["fox-0", "fox-1"]
    assert all(re.fullmatch("[0-9a-f]{8}", unit.mark) for unit in (first, second, *units, *pair))
