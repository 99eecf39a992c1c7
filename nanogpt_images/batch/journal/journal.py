"""The journal as the rest of a batch sees it: every operation is awaited, and committed when it returns."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TypeVar

from ...errors import Charge, ParameterError
from ...types.parameters import CountRule
from ..rows import BatchRow
from ..states import State
from ..units import Unit, unpriced
from . import admission, adoption, manifests, transitions
from . import pages as listing
from . import queries as reports
from .database.store import Store
from .database.writer import Writer
from .records import (
    Admission,
    Ending,
    Holder,
    ImageRecord,
    ManifestRecord,
    ModelTotals,
    ResultRecord,
    SignedUrl,
    SpendingByModel,
    Totals,
    UnitRecord,
)

ResultT = TypeVar("ResultT")
_CHUNK = 500


class Journal:
    """
    What a batch means to do, has done and has paid, in `DIR/journal.db`.

    An operation returns when it is on the disk. Operations that wait at the same time share one commit.
    A cancelled caller does not undo its operation. Bound to the event loop in which it was opened.

    Attributes:
        directory: The batch's directory.
        read_only: Only the totals and the lists can be asked for.
    """

    directory: Path
    read_only: bool
    _writer: Writer

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
        Open the journal of *directory*; both are made where they do not exist.

        What dead processes left behind is sorted out: requests they had sent become unknown, the rest is free.

        Args:
            directory: The batch's directory.
            service: What the batch talks to, such as its base URL; None accepts any.
            join: Take part in the work of a process that has the journal open.
            read_only: Change nothing and hold nothing; the journal must exist.
            adopt: Where there is no journal of the images that `results.jsonl` lists, take them over; without a list
                none can be, and the directory is accepted.
            fsync_images: Put image files on the disk itself before their outcome is committed.
            clock: Seconds since the epoch.

        Raises:
            JournalError: It is gone although its images are there, in use, damaged, of a newer version or of another service; the text has the way out.
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
        Commit what waits and leave the journal; what is still under way becomes unknown.

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
        self, rows: Sequence[tuple[BatchRow, CountRule]], *, price: Callable[[Unit], int | None] = unpriced
    ) -> list[Admission]:
        """
        Make units of *rows*, in one commit, and claim those to be worked on now.

        New units, and those that an earlier run left open or that failed without a charge, are claimed.
        Identical rows are told apart by how many came before, so one `Journal` admits each row of its
        manifest once; some hundred rows per call are a good number.

        Args:
            rows: Rows, and how their models count.
            price: What a new unit is planned to cost (nano-USD), None where that is not known; it is called in
                the journal's thread.

        Returns:
            One entry per unit, in order.

        Raises:
            JournalError: The journal cannot be written.
        """
        return await self._run(lambda store: admission.admit(store, rows, price))

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

    async def refused(self, unit_id: str) -> None:
        """Record that a sent unit was neither carried out nor charged: it is pending again, and still claimed."""
        await self._run(lambda store: transitions.refused(store, unit_id))

    async def repeated(self, unit_id: str) -> None:
        """Record that a sent unit may have been charged and is to be sent again: pending, its worst case counted."""
        await self._run(lambda store: transitions.repeated(store, unit_id))

    async def linked(
        self,
        unit_id: str,
        links: Sequence[SignedUrl],
        *,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """
        Record the signed URLs of an answer, before they are downloaded.

        Args:
            unit_id: A unit that was sent.
            links: What is to be downloaded.
            images: Images of the same answer that are on disk already.
            cost_nano: What the service says it cost; None counts what was reserved.
            request_id: The service's ID of the request.
        """
        await self._store(
            images,
            lambda store: transitions.linked(
                store, unit_id, links, images=images, cost_nano=cost_nano, request_id=request_id
            ),
        )

    async def done(
        self,
        unit_id: str,
        images: Sequence[ImageRecord],
        *,
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """
        Record that the images of a unit are on disk, and add their lines to `results.jsonl`.

        Args:
            unit_id: A unit that was sent or linked, or one of an earlier run that is unknown or linked and
                turned out well.
            images: Those not recorded before; their files are synced first.
            cost_nano: What the service says it cost; None counts what was recorded with the links, else
                what was reserved.
            request_id: The service's ID of the request.

        Raises:
            OutputError: A file is not there; the unit stays as it was.
        """
        await self._store(
            images,
            lambda store: transitions.done(
                store, unit_id, images, cost_nano=cost_nano, request_id=request_id
            ),
        )

    async def failed(
        self,
        unit_id: str,
        charge: Charge,
        *,
        error_type: str,
        error_text: str,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """
        Record that a unit ended without all of its images.

        Args:
            unit_id: A unit that was sent or linked, or one that is pending and will not be sent.
            charge: `UNKNOWN` makes the unit unknown and keeps what was reserved for it counted.
            error_type: Name of the error's class.
            error_text: Its text.
            images: What could be saved all the same.
            cost_nano: For a charged one, what it cost; None counts what was reserved.
            request_id: The service's ID of the request.
        """
        await self._store(
            images,
            lambda store: transitions.failed(
                store,
                unit_id,
                charge=charge,
                error_type=error_type,
                error_text=error_text,
                images=images,
                cost_nano=cost_nano,
                request_id=request_id,
            ),
        )

    async def found(self, unit_id: str) -> State:
        """
        Record that who works on a unit is alive: an unknown one is under way again, a linked one is this process's.

        Only for who knows that: the caller has heard from the worker, and nobody asked for the unit anew meanwhile.

        Returns:
            The state of the unit afterwards; other states than these two stay as they are.
        """
        return await self._run(lambda store: transitions.found(store, unit_id))

    async def settle(self) -> int:
        """
        Count requests as done that were given up and have all of their images.

        Returns:
            How many requests that were.
        """
        return await self._run(transitions.settled)

    async def postponed(self, unit_id: str, *, error_type: str, error_text: str) -> None:
        """Record why the download of a linked unit did not succeed in this run; a later run goes on with it."""
        await self._run(lambda store: transitions.postponed(store, unit_id, error_type, error_text))

    async def remake(self, wanted: Collection[str]) -> None:
        """
        Open units again, whatever they came to, for `pending` to find: what was paid for is paid for again.

        Args:
            wanted: Their IDs.

        Raises:
            ParameterError: One of them is not in the journal.
        """
        known = await self.charged_among(wanted)
        if strange := len(wanted) - len(known):
            raise ParameterError(
                f"{strange:,} of {len(wanted):,} picked requests are not in {self.directory}. Nothing was sent.",
                parameter="picked",
                advice="Save the picks in the gallery of this batch.",
            )
        await self._run(lambda store: admission.remake(store, wanted))

    async def reopen(self, *, unknown: bool = False) -> int:
        """
        Open failed units again, for `pending` to find; those that have all of their images are done.

        Args:
            unknown: Also those that were, or may have been, charged: they are paid for again.

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
        Claim and yield what the journal itself holds open: downloads first, then what is to be sent.

        Args:
            left_by_peers: Only what other processes of this job claimed, and left when they ended or died.
            only: IDs of the units to claim; None for all.
            chunk: How many are claimed at once.
        """
        for state in (State.LINKED, State.PENDING):
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
        """Units whose outcome nobody knows, in the order of admission."""
        return self._endings(State.UNKNOWN)

    def failures(self) -> AsyncIterator[Ending]:
        """Units that failed, in the order of admission."""
        return self._endings(State.FAILED)

    def open_downloads(self) -> AsyncIterator[Ending]:
        """Units that are paid for and wait for their downloads, in the order of admission."""
        return self._endings(State.LINKED)

    def results(self, *, chunk: int = _CHUNK) -> AsyncIterator[Sequence[ResultRecord]]:
        """
        The images on disk, in the order in which they came; only *chunk* of them are in memory at a time.

        Args:
            chunk: How many are read at once.
        """
        return self._pages(lambda after, store: listing.results(store, after, chunk))

    async def units(self, *, chunk: int = _CHUNK) -> AsyncIterator[UnitRecord]:
        """
        Every unit with the images kept of it, in the order of admission.

        Args:
            chunk: How many are read at once.
        """
        async for page in self._pages(lambda after, store: listing.units(store, after, chunk)):
            for record in page:
                yield record

    async def charged_among(self, ids: Collection[str]) -> dict[str, bool]:
        """Look up whether each unit of *ids* that the journal knows was, or may have been, charged."""
        return await self._run(lambda store: reports.charged_among(store, ids))

    async def recorded(self, files: Sequence[str]) -> frozenset[str]:
        """Which of *files*, relative to the directory, are images that the journal knows."""
        return await self._run(lambda store: reports.recorded(store, files))

    async def totals(self) -> Totals:
        """The sums of the whole journal, over all processes and earlier runs; quick whatever its size."""
        return await self._run(reports.totals)

    async def left_open(self) -> dict[State, int]:
        """How many requests are still to do and in the hands of no other living process, by `PENDING` and `LINKED`."""
        return await self._run(reports.left_open)

    async def spending(self) -> SpendingByModel:
        """What was spent on each model, and when, for comparison with the service's account."""
        return await self._run(reports.spending)

    async def by_model(self) -> list[ModelTotals]:
        """Add up requests, images, money and durations by model; it reads every unit, unlike `totals`."""
        return await self._run(reports.by_model)

    async def holders(self) -> list[Holder]:
        """The living processes that work on the journal, this one included unless it only reads."""
        return await self._run(lambda store: store.members.holders())

    async def service(self) -> str | None:
        """The service that the journal was made with."""
        return await self._run(lambda store: store.meta("service"))

    async def _endings(self, state: State) -> AsyncIterator[Ending]:
        async for page in self._pages(lambda after, store: reports.endings(store, state, after, _CHUNK)):
            for ending in page:
                yield ending

    async def _pages(
        self, read: Callable[[int, Store], tuple[list[ResultT], int]]
    ) -> AsyncIterator[list[ResultT]]:
        """What *read* gives of the store after a place, from the beginning until there is no more."""
        after = 0
        while True:
            page, after = await self._run(partial(read, after))
            if not page:
                return
            yield page

    async def _store(self, images: Sequence[ImageRecord], work: Callable[[Store], None]) -> None:
        files = [self.directory / PurePosixPath(image.file) for image in images if not image.is_elsewhere]
        await self._run(work, files)

    async def _run(self, work: Callable[[Store], ResultT], files: Sequence[Path] = ()) -> ResultT:
        return await self._writer.run(work, files)
