"""The way of a unit through the journal, and what its money adds up to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import Admission, ImageRecord, Journal, SignedUrl
from nanogpt_images.batch.journal.database.schema import FOLLOWED
from nanogpt_images.batch.outcomes import Done, Failed, Linked, Postponed, Refused
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.errors import BudgetExceededError, Charge, JournalError, OutputError
from nanogpt_images.types.parameters import CountRule

MakeImage = Callable[..., ImageRecord]
ONE = CountRule()


async def opened(out: Path) -> Journal:
    return await Journal.open(out, service="sandbox")


async def admitted(journal: Journal, count: int = 1, rule: CountRule = ONE) -> list[Admission]:
    return await journal.admit([(BatchRow("a red fox", "m", count=count, key="fox"), rule)])


async def states(journal: Journal) -> dict[State, int]:
    return {state: units for state, units in (await journal.totals()).units.items() if units}


async def test_a_done_unit_is_not_claimed_again(out: Path, image: MakeImage) -> None:
    """What is on disk is not paid for again by a rerun."""
    async with await opened(out) as journal:
        (first,) = await admitted(journal)
        await journal.sent(first.unit.id, 50)
        await journal.record(first.unit.id, Done(images=[image()], cost_nano=40))
    async with await opened(out) as journal:
        (again,) = await admitted(journal)
        assert (again.unit.id, again.state, again.claimed) == (first.unit.id, State.DONE, False)
        totals = await journal.totals()
    assert (totals.rows, totals.images, totals.spent_nano, totals.committed_nano) == (1, 1, 40, 40)


async def test_money_moves_from_reserved_to_spent(out: Path, image: MakeImage) -> None:
    """A sent unit counts with its worst case, a done one with its cost, a rejected one with nothing."""
    async with await opened(out) as journal:
        done, rejected, open_ = await admitted(journal, count=3)
        for admission in (done, rejected, open_):
            await journal.sent(admission.unit.id, 100)
        assert (await journal.totals()).reserved_nano == 300
        await journal.record(done.unit.id, Done(images=[image()], cost_nano=60))
        await journal.record(
            rejected.unit.id, Failed(charge=Charge.REJECTED, error_type="BadRequestError", error_text="no")
        )
        totals = await journal.totals()
        assert (totals.spent_nano, totals.reserved_nano, totals.unknown_nano) == (60, 100, 0)


async def test_a_cost_that_is_not_stated_counts_as_the_worst_case(out: Path, image: MakeImage) -> None:
    """Without a cost in the answer, what was reserved is taken for spent."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 70)
        await journal.record(admission.unit.id, Done(images=[image()]))
        assert (await journal.totals()).spent_nano == 70


async def test_a_unit_is_sent_once(out: Path) -> None:
    """A second SENT without a refusal between is an error, and changes nothing."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 10)
        with pytest.raises(JournalError, match="sent"):
            await journal.sent(admission.unit.id, 10)
        assert (await journal.totals()).reserved_nano == 10


async def test_what_another_process_works_on_is_not_sent(out: Path) -> None:
    """Whatever a process believes: only the one that has claimed a request may pay for it."""
    async with await Journal.open(out, service="s", join=True) as first:
        (admission,) = await admitted(first)
        async with await Journal.open(out, service="s", join=True) as second:
            with pytest.raises(JournalError, match="not this process's"):
                await second.sent(admission.unit.id, 10)
        await first.sent(admission.unit.id, 10)


async def test_a_refused_unit_may_be_sent_again(out: Path) -> None:
    """A refusal without a charge gives its reservation back and the unit can be sent anew."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 10)
        await journal.record(admission.unit.id, Refused())
        assert (await journal.totals()).reserved_nano == 0
        await journal.sent(admission.unit.id, 20)
        assert (await journal.totals()).reserved_nano == 20


async def test_the_cap_counts_earlier_runs_and_open_requests(out: Path, image: MakeImage) -> None:
    """The budget of a job holds over all runs: spent, reserved and unknown count against it."""
    async with await opened(out) as journal:
        done, stranded, open_, last = await admitted(journal, count=4)
        await journal.sent(done.unit.id, 40)
        await journal.record(done.unit.id, Done(images=[image()], cost_nano=30))
        await journal.sent(stranded.unit.id, 30)
    async with await opened(out) as journal:
        await admitted(journal, count=4)
        await journal.sent(open_.unit.id, 30, cap_nano=100)
        with pytest.raises(BudgetExceededError, match="budget"):
            await journal.sent(last.unit.id, 11, cap_nano=100)
        await journal.sent(last.unit.id, 10, cap_nano=100)


async def test_links_come_back_for_download(out: Path, image: MakeImage) -> None:
    """A killed download goes on in the next run with the journalled URLs, and costs nothing more."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal, count=3, rule=CountRule(maximum=3))
        unit = admission.unit
        await journal.sent(unit.id, 90)
        links = [SignedUrl(index=1, url="https://host/1?sig=a"), SignedUrl(index=2, url="https://host/2")]
        await journal.record(
            unit.id, Linked(links=links, images=[image("fox-0")], cost_nano=60, request_id="r1")
        )
        await journal.record(unit.id, Postponed(error_type="DownloadError", error_text="later"))
    async with await opened(out) as journal:
        (again,) = await admitted(journal, count=3, rule=CountRule(maximum=3))
        assert (again.state, again.claimed, list(again.links)) == (State.LINKED, True, links)
        assert again.linked_at is not None
        await journal.record(unit.id, Done(images=[image("fox-1", 1), image("fox-2", 2)]))
        totals = await journal.totals()
    assert (totals.spent_nano, totals.images, totals.units[State.DONE]) == (60, 3, 1)


async def test_an_expired_link_is_charged_and_lost(out: Path) -> None:
    """A paid image that cannot be had any more is a charged failure; a rerun does not pay for it again."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 90)
        await journal.record(
            admission.unit.id, Linked(links=[SignedUrl(index=0, url="https://host/1")], cost_nano=60)
        )
        await journal.record(
            admission.unit.id, Failed(charge=Charge.CHARGED, error_type="DownloadError", error_text="gone")
        )
    async with await opened(out) as journal:
        (again,) = await admitted(journal)
        assert (again.state, again.claimed) == (State.FAILED, False)
        totals = await journal.totals()
        (ending,) = [ending async for ending in journal.failures()]
    assert (totals.charged_failures, totals.spent_nano) == (1, 60)
    assert (ending.charge, ending.error_text, ending.cost_nano) == (Charge.CHARGED, "gone", 60)


async def test_a_free_failure_is_tried_again_by_the_next_run(out: Path) -> None:
    """A row that was refused without a charge is open again on a rerun."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.record(
            admission.unit.id, Failed(charge=Charge.NOT_SENT, error_type="ConnectError", error_text="no")
        )
        assert await states(journal) == {State.FAILED: 1}
    async with await opened(out) as journal:
        (again,) = await admitted(journal)
        assert (again.state, again.claimed) == (State.PENDING, True)
        assert await states(journal) == {State.PENDING: 1}


async def test_what_is_under_way_at_closing_is_unknown(out: Path) -> None:
    """Closing with a request in flight lists it as unknown, with what it may have cost, and frees the rest."""
    async with await opened(out) as journal:
        flying, _ = await admitted(journal, count=2)
        await journal.sent(flying.unit.id, 30)
    async with await opened(out) as journal:
        assert await states(journal) == {State.UNKNOWN: 1, State.PENDING: 1}
        (ending,) = [ending async for ending in journal.unknowns()]
        assert (ending.unit.id, ending.cost_nano, ending.attempts) == (flying.unit.id, 30, 1)
        assert [admission.claimed for admission in await admitted(journal, count=2)] == [False, True]


async def test_retry_without_unknown_leaves_them(out: Path) -> None:
    """Unknown and charged units are opened again only when they are asked for by name."""
    async with await opened(out) as journal:
        unknown, charged, rejected = await admitted(journal, count=3)
        for admission in (unknown, charged, rejected):
            await journal.sent(admission.unit.id, 10)
        await journal.record(
            unknown.unit.id,
            Failed(charge=Charge.UNKNOWN, error_type="OutcomeUnknownError", error_text="dropped"),
        )
        await journal.record(
            charged.unit.id, Failed(charge=Charge.CHARGED, error_type="ResponseDecodeError", error_text="?")
        )
        await journal.record(
            rejected.unit.id, Failed(charge=Charge.REJECTED, error_type="BadRequestError", error_text="no")
        )
        assert await journal.reopen() == 1
        assert [found.unit.id async for found in journal.pending()] == [rejected.unit.id]
        assert await journal.reopen(unknown=True) == 2
        found = [admission.unit.id async for admission in journal.pending(chunk=1)]
        assert found == [unknown.unit.id, charged.unit.id]


async def test_a_retry_keeps_the_money_of_the_first_attempt(out: Path, image: MakeImage) -> None:
    """After a retry the lost cost stays spent, and the unknown one stays counted at its worst case."""
    async with await opened(out) as journal:
        unknown, charged = await admitted(journal, count=2)
        await journal.sent(unknown.unit.id, 10)
        await journal.record(unknown.unit.id, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t"))
        await journal.sent(charged.unit.id, 10)
        await journal.record(
            charged.unit.id, Failed(charge=Charge.CHARGED, error_type="E", error_text="t", cost_nano=7)
        )
        await journal.reopen(unknown=True)
        async for admission in journal.pending():
            await journal.sent(admission.unit.id, 10)
            await journal.record(
                admission.unit.id, Done(images=[image(admission.unit.image_stem(0))], cost_nano=5)
            )
        totals = await journal.totals()
    assert (totals.spent_nano, totals.unknown_nano, totals.units[State.DONE]) == (17, 10, 2)


async def test_an_unknown_unit_may_be_recovered(out: Path, image: MakeImage) -> None:
    """Images of an unknown request that turn up make it done, at its worst case."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 30)
        await journal.record(admission.unit.id, Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t"))
        await journal.record(admission.unit.id, Done(images=[image()]))
        totals = await journal.totals()
    assert (totals.units[State.DONE], totals.spent_nano, totals.unknown_nano) == (1, 30, 0)


async def test_a_missing_image_is_not_done(out: Path) -> None:
    """A unit whose image file is not there stays sent, and only its own caller is told."""
    record = ImageRecord(index=0, file="images/none.png", media_type="image/png", bytes=1, sha256="00")
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 30)
        with pytest.raises(OutputError, match=r"none\.png"):
            await journal.record(admission.unit.id, Done(images=[record]))
        assert await states(journal) == {State.SENT: 1}


async def test_a_unit_nobody_admitted(out: Path) -> None:
    """An operation on a unit that the journal does not know is refused."""
    async with await opened(out) as journal:
        with pytest.raises(JournalError, match="admit"):
            await journal.sent("00" * 16, 1)


async def test_odd_text_in_an_error_is_kept_as_far_as_possible(out: Path) -> None:
    """A service's text with half a surrogate pair, or of great length, is stored all the same."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.record(
            admission.unit.id,
            Failed(
                charge=Charge.REJECTED, error_type="E", error_text="\udcff" + "x" * 9_999, request_id="\udc80"
            ),
        )
        (ending,) = [ending async for ending in journal.failures()]
    assert ending.error_text == "?" + "x" * 1_999
    assert ending.request_id == "?"


async def test_a_request_whose_sender_lives_is_no_longer_unknown(out: Path, image: MakeImage) -> None:
    """What an interrupted run had sent may be found to be under way, and then ends like any other."""
    async with await opened(out) as journal:
        (admission,) = await admitted(journal)
        await journal.sent(admission.unit.id, 70)
    async with await opened(out) as journal:
        assert await states(journal) == {State.UNKNOWN: 1}
        assert await journal.found(admission.unit.id) is State.SENT
        assert (await journal.totals()).reserved_nano == 70
        await journal.record(
            admission.unit.id, Failed(charge=Charge.REJECTED, error_type="E", error_text="no")
        )
        assert await journal.found(admission.unit.id) is State.FAILED
        assert (await journal.totals()).committed_nano == 0


async def test_links_that_are_followed_up_are_counted_without_a_look_at_every_failure(out: Path) -> None:
    """The sums of a journal are asked for several times a second, however many requests failed."""
    async with await opened(out) as journal:
        (plan,) = await journal._run(
            lambda store: store.connection.execute(
                f"EXPLAIN QUERY PLAN SELECT count(*) FROM unit WHERE {FOLLOWED}"
            ).fetchall()
        )
    assert "unit_followed" in plan[-1]
