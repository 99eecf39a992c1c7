"""A row as paid requests."""

import re
from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.units import Unit, content_of, units_of
from nanogpt_images.types.parameters import CountRule, split_count

RULES = st.one_of(
    st.builds(CountRule, fixed=st.integers(1, 6)),
    st.tuples(st.integers(1, 5), st.integers(0, 5)).map(lambda t: CountRule(t[0], t[0] + t[1])),
)
ROWS = st.lists(
    st.builds(BatchRow, st.sampled_from("abc"), st.just("m"), count=st.integers(1, 12)), max_size=12
)


def in_one_pass(rows: Iterable[BatchRow], rule: CountRule) -> list[Unit]:
    """Units of rows that are all new."""
    numbers, replicas = Counter[str](), Counter[str]()
    units: list[Unit] = []
    for row in rows:
        counts = split_count(row.count, rule)
        units += units_of(row, rule, counts, number=numbers[row.digest], replica=replicas[row.digest])
        numbers[row.digest] += len(counts)
        replicas[row.digest] += 1
    return units


@given(st.integers(1, 40), RULES)
def test_requests_are_those_of_split_count(count: int, rule: CountRule) -> None:
    """A row makes the requests of `split_count`, whose images follow each other without gap or overlap."""
    units = in_one_pass([BatchRow("a", "m", count=count)], rule)
    assert [unit.n for unit in units] == split_count(count, rule)
    assert [(unit.part, unit.parts) for unit in units] == [(i, len(units)) for i in range(len(units))]
    indexes = [unit.first_index + i for unit in units for i in range(unit.images)]
    assert indexes == list(range(len(indexes)))
    assert len(indexes) >= count


@given(ROWS, RULES)
def test_no_id_occurs_twice(rows: list[BatchRow], rule: CountRule) -> None:
    """IDs begin with the content and go on with a number of it, in order."""
    units = in_one_pass(rows, rule)
    assert len({unit.id for unit in units}) == len(units)
    for content in {row.digest for row in rows}:
        ids = [unit.id for unit in units if unit.row.digest == content]
        assert ids == sorted(ids)
        assert {bytes.fromhex(unit_id)[:9] for unit_id in ids} == {content_of(content)}


@given(st.integers(1, 12), st.integers(1, 4), RULES)
def test_every_image_has_a_name_of_its_own(count: int, copies: int, rule: CountRule) -> None:
    """Images of identical rows, and images beyond the expected number, never share a file stem."""
    units = in_one_pass([BatchRow("a", "m", count=count, key="fox")] * copies, rule)
    stems = [unit.image_stem(i) for unit in units for i in range(unit.images + 2)]
    assert len(set(stems)) == len(stems)


def test_what_completes_a_row_goes_on_behind_it() -> None:
    """Requests for images that a row lacks have parts and indexes of their own, also where parts in between are gone."""
    row, rule = BatchRow("a", "m", count=10, key="fox"), CountRule(1, 4)
    more = units_of(row, rule, [4, 1], number=7, there=[(1, 5)])
    assert [(unit.part, unit.parts, unit.first_index) for unit in more] == [(0, 3, 5), (2, 3, 9)]
    assert [unit.image_stem(0).removesuffix(f"-{unit.mark}") for unit in more] == ["fox-5", "fox-9"]


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
