"""The journal as the rest of a batch uses it: every operation is awaited, and committed when it returns."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TypeVar

from ..._base.database.writer import Writer
from ...errors import ParameterError
from ...money.outcome_bounds import BookedRequest
from ...types.parameters import CountRule
from ..outcomes import ImageRecord, Outcome, images_of
from ..rows import BatchRow
from ..states import State
from ..units import Unit, unpriced
from . import admission, adoption, manifests, pages, queries, rewriting, transitions
from .database.store import Store
from .records import (
    Admission,
    Ending,
    Holder,
    ManifestRecord,
    ModelTotals,
    Remainder,
    ResultRecord,
    SpendingByModel,
    Totals,
    UnitRecord,
)
from .rewriting import Rewrite

ResultT = TypeVar("ResultT")
_CHUNK = 500


class Journal:
    """
    The plan, the outcomes and the costs of a batch, in `DIR/journal.db`.

    An operation returns when it is on the disk. Operations that wait at the same time share one commit.
    A cancelled caller does not undo its operation. Bound to the event loop in which it was opened.

    Attributes:
        directory: The batch's directory.
        read_only: Only the totals and the lists can be asked for.
    """

    directory: Path
    read_only: bool
    _writer: Writer[Store]

    @classmethod
    async def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        service: str | None,
        join: bool = False,
        read_only: bool = False,
        adopt: bool = False,
        fsync_images: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Journal:
        """
        Open the journal of *directory*; create both where they do not exist.

        Requests that dead processes had sent become unknown; what they had only claimed becomes free.

        Args:
            directory: The batch's directory.
            service: What the batch talks to, such as its base URL; None accepts any.
            join: Take part in the work of a process that has the journal open.
            read_only: Change nothing and hold nothing; the journal must exist.
            adopt: Take over the images that `results.jsonl` lists where their journal is gone; without a list, accept
                the directory and take over nothing.
            fsync_images: Put image files on the disk itself before their outcome is committed.
            clock: Seconds since the epoch.

        Raises:
            JournalError: It is missing beside its images, in use, damaged, of a newer version or of another service; the
                text has the way out.
            OutputError: The directory cannot be made or written.
        """
        journal = cls()
        journal.directory = Path(directory)
        journal.read_only = read_only
        make_store = partial(
            Store,
            journal.directory,
            service=service,
            join=join,
            read_only=read_only,
            adopt=adoption.adopt if adopt else None,
            clock=clock,
        )
        journal._writer = Writer(make_store, fsync_images=fsync_images)
        await journal._writer.start()
        return journal

    async def aclose(self) -> None:
        """
        Commit what waits and leave the journal; requests in flight become unknown.

        Raises:
            JournalError: Leaving could not be recorded (a full disk); the next process to open it does that.
        """
        await self._writer.stop()

    async def __aenter__(self) -> Journal:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def follow(self, manifest: ManifestRecord, *, beside_others: bool = False) -> ManifestRecord:
        """
        Record that the rows admitted from now on are those of *manifest*, from the first one: a pass of their own.

        Args:
            manifest: The manifest; `read` is kept from an earlier pass over the same rows.
            beside_others: Keep the records of other manifests, for a process that joined and for a retry.

        Returns:
            The record as it is kept, with what was read before.
        """
        return await self._run(lambda store: manifests.follow(store, manifest, beside_others=beside_others))

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None] = unpriced,
        unreadable: int = 0,
    ) -> list[Admission]:
        """
        Make units of *rows*, in one commit, and claim those to be worked on now.

        New units, and those that an earlier run left open or that failed without a charge, are claimed.
        Identical rows differ by how many came before, so one `Journal` admits each row of its
        manifest once; some hundred rows per call are a good number.

        Args:
            rows: Rows, and how their models count.
            price: What a new unit is planned to cost (nano-USD), None where that is not known; it is called in
                the journal's thread.
            unreadable: How many further rows of the manifest cannot be read: they count as read, and make no units.

        Returns:
            One entry per unit, in order.

        Raises:
            JournalError: The journal cannot be written.
        """
        return await self._run(lambda store: admission.admit(store, rows, price, unreadable))

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """
        Record that the POST of a claimed unit is about to leave.

        Args:
            unit_id: A claimed unit that is pending.
            reserved_nano: The worst case of its price.
            cap_nano: A budget for the whole job, over all its processes and earlier runs.

        Raises:
            BudgetExceededError: The budget could be passed; the unit stays pending.
            JournalError: The unit is not this process's, or not pending: sending it could pay twice.
        """
        await self._run(lambda store: transitions.sent(store, unit_id, reserved_nano, cap_nano))

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        """
        Record what became of a unit, in the same commit as the images that came of it.

        Image files are synced first, and each image gets its line in `results.jsonl`.

        Args:
            unit_id: A unit that was sent or linked; `Failed` also ends one that is pending and will not be sent,
                `Done` one of an earlier run that is unknown and turned out well.
            outcome: What became of it.

        Raises:
            JournalError: The outcome cannot follow the unit's state: a second payment or a lost image would follow.
            OutputError: A file is not there; the unit stays as it was.
        """
        images = images_of(outcome)
        files = [self.directory / PurePosixPath(image.file) for image in images if not image.is_elsewhere]
        await self._run(lambda store: transitions.record(store, unit_id, outcome), files)

    async def reused(
        self, unit_id: str, images: Sequence[ImageRecord], *, request_id: str | None = None
    ) -> None:
        """
        Record that the images of a claimed unit were paid for before and are on disk: it costs nothing.

        Args:
            unit_id: A claimed unit that is pending.
            images: Its images; their files are synced first.
            request_id: The service's ID of the request that was paid for.
        """
        files = [self.directory / PurePosixPath(image.file) for image in images]
        await self._run(lambda store: transitions.reused(store, unit_id, images, request_id), files)

    async def found(self, unit_id: str) -> State:
        """
        Record that the worker of a unit is alive: an unknown unit is in flight again, a linked one is this process's.

        Call it only after word from that worker, and where the unit was not sent again since.

        Returns:
            The state of the unit afterwards; other states than these two stay as they are.
        """
        return await self._run(lambda store: transitions.found(store, unit_id))

    async def settle(self) -> int:
        """
        Count requests as done that were given up although all of their images are there.

        Returns:
            How many requests that were.
        """
        return await self._run(transitions.settled)

    async def remake(self, wanted: Collection[str]) -> None:
        """
        Open units again, whatever they came to, for `pending` to find. Requests that were paid for are paid for again.

        Args:
            wanted: Their IDs.

        Raises:
            ParameterError: One of them is not in the journal.
        """
        known = await self.charged_among(wanted)
        if strange := len(wanted) - len(known):
            raise ParameterError(
                f"{strange:,} of {len(wanted):,} picked requests are not in {self.directory}.",
                parameter="picked",
                advice="Save the picks in the gallery of this batch.",
            )
        await self._run(lambda store: admission.remake(store, wanted))

    async def reopen(self, *, unknown: bool = False) -> int:
        """
        Open failed units again, for `pending` to find; those that have all of their images are done.

        Args:
            unknown: Also those that were, or may have been, charged: they are paid for again. Those with links
                that are still to be downloaded stay as they are for a day, which is as long as files are kept.

        Returns:
            How many units were opened.
        """

        def reopen(store: Store) -> int:
            transitions.settled(store)
            return admission.reopen(store, unknown=unknown)

        return await self._run(reopen)

    async def pending(
        self, *, left_by_peers: bool = False, only: Collection[str] | None = None, chunk: int = _CHUNK
    ) -> AsyncIterator[Admission]:
        """
        Claim and yield what the journal itself holds open: downloads first, also the links of what failed or is
        unknown, then what is to be sent.

        Args:
            left_by_peers: Of what is to be sent, only what other processes of this job claimed, and left when they ended
                or died.
            only: IDs of the units to claim; None for all.
            chunk: How many are claimed at once.
        """
        for state in (State.LINKED, State.UNKNOWN, State.FAILED, State.PENDING):
            after = 0
            while True:
                claim = partial(
                    admission.claim_next,
                    state=state,
                    after=after,
                    limit=chunk,
                    left_by_peers=left_by_peers,
                    only=only,
                )
                claimed, after = await self._run(claim)
                if not claimed:
                    break
                for found in claimed:
                    yield found

    def unknowns(self) -> AsyncIterator[Ending]:
        """Yield the units whose outcome is unknown, in the order of admission."""
        return self._endings(State.UNKNOWN)

    def failures(self) -> AsyncIterator[Ending]:
        """Yield the units that failed, in the order of admission."""
        return self._endings(State.FAILED)

    def open_downloads(self) -> AsyncIterator[Ending]:
        """Yield the units that are paid for and wait for their downloads, in the order of admission."""
        return self._endings(State.LINKED)

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """
        Record that image files will have other bytes: before they have, so that a crash leaves files to be written again.

        Args:
            rewrites: Their new sizes and digests. `results.jsonl` follows with `relist`.
        """
        await self._run(lambda store: rewriting.rewrite(store, rewrites))

    async def relist(self) -> None:
        """Write `results.jsonl` again where it is behind the journal. Raises OutputError."""
        await self._run(rewriting.relist)

    def results(self, *, chunk: int = _CHUNK) -> AsyncIterator[Sequence[ResultRecord]]:
        """
        Yield the images on disk in the order in which they came; only *chunk* of them are in memory at a time.

        Args:
            chunk: How many are read at once.
        """
        return self._pages(lambda after, store: pages.results(store, after, chunk))

    async def result_of(self, file: str) -> ResultRecord | None:
        """Find the image in *file*, a path relative to the directory; None where the journal does not list it."""
        return await self._run(lambda store: pages.result_of(store, file))

    async def units(self, *, chunk: int = _CHUNK) -> AsyncIterator[UnitRecord]:
        """
        Yield every unit with its images, in the order of admission.

        Args:
            chunk: How many are read at once.
        """
        async for page in self._pages(lambda after, store: pages.units(store, after, chunk)):
            for record in page:
                yield record

    async def charged_among(self, ids: Collection[str]) -> dict[str, bool]:
        """Look up whether each unit of *ids* that the journal knows was, or may have been, charged."""
        return await self._run(lambda store: queries.charged_among(store, ids))

    async def recorded(self, files: Sequence[str]) -> frozenset[str]:
        """Select those of *files*, relative to the directory, that are images which the journal knows."""
        return await self._run(lambda store: queries.recorded(store, files))

    async def totals(self) -> Totals:
        """Return the sums of the whole journal, over all processes and earlier runs; equally quick for any size."""
        return await self._run(queries.totals)

    async def remainder(self) -> Remainder:
        """Return what the job of all processes still has to do, with what living peers have in hand."""
        return await self._run(queries.remainder)

    async def spending(self) -> SpendingByModel:
        """Return what was spent on each model, and when, for comparison with the service's account."""
        return await self._run(queries.spending)

    async def booked(self) -> list[BookedRequest]:
        """Every request that was sent, for comparison with the service's account."""
        return await self._run(queries.booked)

    async def resolve(self, unit_ids: Sequence[str], *, charged: bool) -> int:
        """
        Record what the account proves of unknown units: failed and charged, or pending again.

        Returns:
            How many of them were unknown until now.
        """
        change = transitions.confirmed if charged else transitions.cleared
        return await self._run(lambda store: sum(change(store, unit_id) for unit_id in unit_ids))

    async def by_model(self) -> list[ModelTotals]:
        """Add up requests, images, money and durations by model; it reads every unit, unlike `totals`."""
        return await self._run(queries.by_model)

    async def holders(self) -> list[Holder]:
        """List the living processes that work on the journal, this one included unless it only reads."""
        return await self._run(lambda store: store.members.holders())

    async def service(self) -> str | None:
        """Return the service that the journal was made with."""
        return await self._run(lambda store: store.meta("service"))

    async def _endings(self, state: State) -> AsyncIterator[Ending]:
        async for page in self._pages(lambda after, store: queries.endings(store, state, after, _CHUNK)):
            for ending in page:
                yield ending

    async def _pages(
        self, read: Callable[[int, Store], tuple[list[ResultT], int]]
    ) -> AsyncIterator[list[ResultT]]:
        """Yield what *read* returns, from the beginning of the store until there is no more."""
        after = 0
        while True:
            page, after = await self._run(partial(read, after))
            if not page:
                return
            yield page

    async def _run(self, work: Callable[[Store], ResultT], files: Sequence[Path] = ()) -> ResultT:
        return await self._writer.run(work, files)
