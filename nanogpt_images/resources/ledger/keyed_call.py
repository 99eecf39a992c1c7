"""The way of a call with a key: find → wait → pay once → keep → deliver."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias, assert_never

import anyio
import attrs

from ..._base.logs import get_logger
from ..._base.threads import in_thread
from ...errors import (
    Charge,
    DownloadError,
    LedgerError,
    NanoGPTError,
    OutcomeUnknownError,
    OutputError,
    ParameterError,
    ResponseDecodeError,
)
from ...money.nano import to_nano
from ...outputs import ImageStore
from ...transport.sender import AttemptHooks
from ...types.request import ImageRequest, asked_count
from ...types.result import GenerationResult, Image, ReceivedImage
from .blobs import INLINE_BYTES, BlobStore, Keeping, read_checked
from .fingerprint import Fingerprint, differences
from .ledger_store import LedgerStore, described, same
from .paid_entries import EntryState, KeptFile, LedgerEntry, answer_json, answer_of, links_of, result_of
from .paid_ledger import PaidLedger

_log = get_logger()
_FIRST_WAIT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 1.0
# What a cancelled call has brought is written down in that time; after it the call is left to be unknown.
_LAST_WORDS_S: Final = 5.0


_Record: TypeAlias = Callable[[LedgerStore, Sequence[KeptFile]], None]


class Taken(Exception):  # noqa: N818 - control flow, never seen outside this module
    """Another call with the same key was first: this one has not been sent, and waits for that one."""


class Pays(Protocol):
    """
    Makes the paid request of a call, downloads what it was answered with, and takes the images.

    Attributes:
        in_memory: The images stay in memory, so `deliver` does not block, and URLs are as good.
    """

    @property
    def in_memory(self) -> bool: ...

    async def pay(self, store: ImageStore, hooks: AttemptHooks) -> GenerationResult:
        """Send the request; its images go to *store*."""
        ...

    async def download(
        self, result: GenerationResult, store: ImageStore, received_at: float | None
    ) -> GenerationResult:
        """Fetch the images behind the URLs of *result*, which came at *received_at*, into *store*."""
        ...

    def prepare(self) -> None:
        """Make sure, before anything is sent, that the images have a place to go to."""
        ...

    def deliver(self, images: Iterable[tuple[KeptFile, bytes]], request_id: str | None) -> Sequence[Image]:
        """Put stored images where the caller wants them."""
        ...


@attrs.frozen
class _Found:
    """A call that is there, and its images where they are small."""

    entry: LedgerEntry
    lives: bool
    data: dict[int, bytes] | None = None


@attrs.frozen(kw_only=True)
class KeyedCall:
    """
    One call with a key.

    Attributes:
        ledger: Where it is recorded.
        name: What it is known by there.
        print_: What it asks for.
        request: The request.
        caller: Pays and delivers.
        sleep: Waits that many seconds.
    """

    ledger: PaidLedger
    name: str
    print_: Fingerprint
    request: ImageRequest
    caller: Pays
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep

    async def result(self) -> GenerationResult:
        """
        The images of this key: from the store, of a call in flight elsewhere, or paid for now.

        Raises:
            ParameterError: The key belongs to another request.
            OutcomeUnknownError: The key was sent before, and nothing tells what became of it.
            LedgerError: The ledger or a stored image cannot be used.
            NanoGPTError: As for a call without a key.
        """
        pause_s = _FIRST_WAIT_S
        while True:
            if (flight := self.ledger.flights.get(self.name)) is not None:
                await flight.wait()
                continue
            found = await self.ledger.read(self._find)
            if found is not None:
                self._check_same(found.entry)
                if not found.entry.may_be_tried_again:
                    if (result := await self._earlier(found)) is not None:
                        return result
                    await self.sleep(pause_s)
                    pause_s = min(_LONGEST_WAIT_S, pause_s * 1.5)
                    continue
            if self.name in self.ledger.flights:
                continue
            self.ledger.flights[self.name] = flight = asyncio.Event()
            try:
                return await self._pay()
            except Taken:
                continue
            finally:
                del self.ledger.flights[self.name]
                flight.set()

    async def _earlier(self, found: _Found) -> GenerationResult | None:
        """What became of the call that has the key; None while somebody works on it."""
        entry = found.entry
        match entry.state:
            case EntryState.DONE:
                return await self._deliver(entry, found.data)
            case EntryState.SENT | EntryState.LINKED if found.lives and entry.owner != self.ledger.token:
                return None
            case EntryState.LINKED:
                return await self._download(entry)
            case EntryState.SENT:
                # What this client works on has a flight: the end of this one could not be written down.
                await self.ledger.write(lambda store: store.give_up(self.name))
                return None
            case EntryState.UNKNOWN:
                raise _unknown(entry)
            case EntryState.FAILED:
                raise _charged(entry)
            case _:
                assert_never(entry.state)

    def _find(self, store: LedgerStore) -> _Found | None:
        entry = store.find(self.name)
        if entry is None:
            return None
        lives = entry.state in (EntryState.SENT, EntryState.LINKED) and store.lives(entry.owner)
        data = _read_small(store.folder, entry) if entry.state is EntryState.DONE else None
        return _Found(entry, lives, data)

    def _check_same(self, entry: LedgerEntry) -> None:
        if same(entry, self.print_):
            return
        apart = differences(
            {**entry.request, "sample": entry.sample}, {**self.print_.request, "sample": self.print_.sample}
        )
        raise ParameterError(
            f"{described(self.name)} was made with another request: {'; '.join(apart)}.",
            advice="Use another key, or the same request.",
            model=self.request.model,
            parameter="key",
        )

    async def _pay(self) -> GenerationResult:
        self.caller.prepare()
        store = BlobStore(self.ledger.folder)
        attempt = _Attempt(self, store)
        try:
            result = await self.caller.pay(store, attempt)
        except NanoGPTError as error:
            await self.record_failure(attempt, error)
            raise
        except Taken:
            raise
        except BaseException:
            with anyio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._record_cancelled(attempt)
            raise
        assert attempt.entry is not None
        return await self._keep(attempt.entry, result, store.kept)

    async def _keep(
        self, entry: LedgerEntry, result: GenerationResult, kept: Sequence[ReceivedImage]
    ) -> GenerationResult:
        """Record what was paid for, then hand it out."""
        answer, cost, request_id = answer_json(answer_of(result)), _cost_nano(result), result.request_id
        has_links = any(image.url is not None for image in result.images)

        def paid(store: LedgerStore, images: Sequence[KeptFile]) -> None:
            if has_links:
                # The URLs are recorded before their download: that can then be repeated without paying again.
                store.linked(entry.seq, answer, cost, request_id, images)
            else:
                store.done(entry.seq, images, answer=answer, cost_nano=cost, request_id=request_id)

        try:
            images = await self._record_outcome(paid, kept)
        except NanoGPTError as error:
            error.charge, error.says_charge, error.partial = Charge.CHARGED, True, result
            if isinstance(error, OutputError):
                await self._try_to_record(entry, error, kept)
            raise
        except BaseException:
            await self._leave_download(entry)
            raise
        if has_links:
            linked = await self.ledger.read(lambda store: store.find(self.name))
            assert linked is not None
            return await self._download(linked, result)
        data = {image.index: image.data for image in result.images if image.data is not None}
        is_small = len(data) == len(images)
        if is_small and self.caller.in_memory:
            return result
        done = attrs.evolve(
            entry, images=tuple(images), cost_nano=cost, request_id=request_id, answer=json.loads(answer)
        )
        return await self._deliver(done, data if is_small else None)

    async def _record_outcome(self, work: _Record, kept: Sequence[ReceivedImage]) -> Sequence[KeptFile]:
        """Carry out *work* with the records of the images *kept*, once these are on the disk."""
        keeping = Keeping.of(kept, self.ledger.folder)
        await self.ledger.write(lambda store: work(store, keeping.images), keeping.files, keeping.unwritten)
        return keeping.images

    async def _download(self, entry: LedgerEntry, fresh: GenerationResult | None = None) -> GenerationResult:
        """Fetch what is paid for and waits behind its URLs; a *fresh* answer's URLs are handed out where that fails."""
        try:
            is_mine = await self.ledger.write(lambda store: store.claim_download(entry.seq))
        except BaseException:
            await self._leave_download(entry)
            raise
        if not is_mine:
            return await self.result()
        links = [Image(index=index, url=url) for index, url in links_of(entry)]
        asked = attrs.evolve(result_of(entry, ()), images=tuple(links))
        blobs = BlobStore(self.ledger.folder)
        try:
            await self.caller.download(asked, blobs, entry.ended_at)
        except DownloadError as error:
            if error.expired:
                await self._try_to_record(entry, error, blobs.kept)
                raise
            await self.ledger.write(lambda store: store.leave_download(entry.seq))
            if fresh is None or not self.caller.in_memory:
                raise
            _log.warning("%s has only the URLs of its images for now: %s", described(self.name), error)
            return fresh
        except BaseException:
            await self._leave_download(entry)
            raise

        def done(store: LedgerStore, images: Sequence[KeptFile]) -> None:
            store.done(entry.seq, images, answer=None, cost_nano=entry.cost_nano, request_id=None)

        await self._record_outcome(done, blobs.kept)
        found = await self.ledger.read(lambda store: store.find(self.name))
        assert found is not None
        return await self._deliver(found, None)

    async def _leave_download(self, entry: LedgerEntry) -> None:
        """Let others download what the caller, who may be cancelled, does not."""
        with anyio.move_on_after(_LAST_WORDS_S, shield=True):
            await self.ledger.write(lambda store: store.leave_download(entry.seq))

    async def _deliver(self, entry: LedgerEntry, data: Mapping[int, bytes] | None) -> GenerationResult:
        if entry.pruned:
            raise LedgerError(
                f"{described(entry.name)} was paid for ({entry.cost_usd:g} USD), and its images were pruned. Nothing was"
                " sent. Forget the key to pay for it again."
            )
        if data is not None and self.caller.in_memory:
            return result_of(entry, self._hand_out(entry, data))
        return result_of(entry, await in_thread(self._hand_out, entry, data))

    def _hand_out(self, entry: LedgerEntry, data: Mapping[int, bytes] | None) -> Sequence[Image]:
        # One image at a time: those that go to files need not be in memory together.
        read = functools.partial(read_checked, self.ledger.folder, name=described(entry.name))
        images = ((image, read(image) if data is None else data[image.index]) for image in entry.images)
        return self.caller.deliver(images, entry.request_id)

    async def record_failure(self, attempt: _Attempt, error: NanoGPTError) -> None:
        """Record that *attempt* ended with *error*, whether the call tries again or not."""
        if attempt.entry is None:
            return
        # Where the last attempt cost nothing, an earlier one may have.
        is_free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
        charge = Charge.UNKNOWN if attempt.doubtful and is_free else error.charge
        await self._try_to_record(attempt.entry, error, attempt.blobs.kept, charge=charge)

    async def _try_to_record(
        self,
        entry: LedgerEntry,
        error: NanoGPTError,
        kept: Sequence[ReceivedImage],
        *,
        charge: Charge = Charge.CHARGED,
    ) -> None:
        """Record *error* with the images *kept*, or where the disk does not take them, without; a fault is logged."""
        partial = error.partial
        cost = 0
        if charge is Charge.CHARGED and isinstance(partial, GenerationResult):
            cost = _cost_nano(partial)

        def failed(store: LedgerStore, images: Sequence[KeptFile]) -> None:
            store.failed(
                entry.seq,
                charge,
                error_type=type(error).__name__,
                error_text=error.message,
                images=images,
                cost_nano=cost,
                request_id=error.request_id,
            )

        try:
            try:
                await self._record_outcome(failed, kept)
            except OutputError:
                await self._record_outcome(failed, ())
        except NanoGPTError as fault:
            _log.warning("what became of %s could not be recorded: %s", described(self.name), fault)

    async def _record_cancelled(self, attempt: _Attempt) -> None:
        if attempt.entry is None:
            if attempt.is_withheld:
                await self.ledger.write(lambda store: store.withdraw(self.name))
            return
        seq, kept, count = attempt.entry.seq, attempt.blobs.kept, asked_count(self.request)

        def ended(store: LedgerStore, images: Sequence[KeptFile]) -> None:
            if isinstance(count, int) and len(images) >= count > 0:
                answer = {"asked": count, "problems": ["the call was cancelled once all images had come"]}
                store.done(seq, images, answer=answer_json(answer), cost_nano=0, request_id=None)
                return
            store.failed(
                seq,
                Charge.NOT_SENT if attempt.is_withheld and not attempt.doubtful else Charge.UNKNOWN,
                error_type="CancelledError",
                error_text="The call was cancelled before the answer was complete.",
                images=images,
            )

        await self._record_outcome(ended, kept)


@attrs.define
class _Attempt(AttemptHooks):
    """The attempts of a call, and what they have left in the ledger."""

    call: KeyedCall
    blobs: BlobStore
    entry: LedgerEntry | None = None
    doubtful: bool = False
    is_withheld: bool = False

    async def before(self, key: int) -> None:
        """Commit before the POST: a crash may strand a paid call, never repeat one."""
        del key
        call, again = self.call, self.entry is not None
        # Cancelled while its intent is written down, it does not leave.
        self.is_withheld = True
        begun = await call.ledger.write(lambda store: store.begin(call.name, call.print_, again=again))
        if not begun.is_mine:
            raise Taken
        self.entry, self.is_withheld = begun.entry, False

    async def refused(self, error: NanoGPTError) -> None:
        """Record an attempt that failed before the next one."""
        if error.charge is Charge.UNKNOWN:
            self.doubtful = True
        elif not self.doubtful:
            # Until the next attempt nothing has left.
            self.is_withheld = True
            await self.call.record_failure(self, error)

    def withheld(self) -> None:
        """Note that the attempt never left."""
        self.is_withheld = True


def _read_small(folder: Path, entry: LedgerEntry) -> dict[int, bytes] | None:
    if entry.pruned or sum(image.bytes for image in entry.images) > INLINE_BYTES:
        return None
    return {image.index: read_checked(folder, image, described(entry.name)) for image in entry.images}


def _cost_nano(result: GenerationResult) -> int:
    return 0 if result.cost_usd is None else to_nano(result.cost_usd)


def _unknown(entry: LedgerEntry) -> OutcomeUnknownError:
    reason = (
        f"{entry.error_type}: {entry.error_text}" if entry.error_type else "nothing tells what became of it"
    )
    return OutcomeUnknownError(
        f"{entry.model}: {described(entry.name)} was sent {_when(entry.sent_at)} ({reason}). Nothing was sent now.",
        charge=Charge.UNKNOWN,
        advice="Settle it with the account (`nanogpt-images settle`), or forget the key to pay again.",
        request_id=entry.request_id,
    )


def _charged(entry: LedgerEntry) -> NanoGPTError:
    text = (
        f"{entry.model}: {described(entry.name)} was sent {_when(entry.sent_at)} and brought no usable image"
        f" ({entry.error_type}: {entry.error_text}). Nothing was sent now."
    )
    advice, request_id = "Forget the key to pay again.", entry.request_id
    if entry.error_type == "DownloadError":
        return DownloadError(text, request_id=request_id, advice=advice, expired=True)
    if entry.error_type == "OutputError":
        return OutputError(text, charge=Charge.CHARGED, request_id=request_id, advice=advice)
    return ResponseDecodeError(text, charge=Charge.CHARGED, request_id=request_id, advice=advice)


def _when(at: float) -> str:
    from datetime import UTC, datetime

    return f"on {datetime.fromtimestamp(at, UTC):%Y-%m-%d at %H:%M:%S} UTC"
