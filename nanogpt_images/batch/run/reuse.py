"""Images that an earlier job or call has paid for: copied instead of bought, and what this job buys kept for later ones."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import attrs

from ..._base.logs import get_logger
from ..._base.threads import in_thread
from ...errors import ManifestError, NanoGPTError
from ...money.nano import to_nano, to_usd
from ...outputs import ImageStore
from ...resources.ledger.blobs import BlobStore, Keeping, copy_in, read_checked
from ...resources.ledger.fingerprint import Fingerprint
from ...resources.ledger.keyed_images import KeyedImages
from ...resources.ledger.ledger_store import LedgerStore, described
from ...resources.ledger.paid_entries import LedgerEntry, answer_json, answer_of, result_of
from ...resources.ledger.paid_ledger import PaidLedger
from ...resources.pipeline import Pipeline
from ...types.model import Model
from ...types.parameters import ONE_IMAGE, split_count
from ...types.result import GenerationResult, Image
from ..events import BatchEvent
from ..journal import Journal
from ..planning.pricing import unit_price
from ..planning.requests import request_of
from ..rows import BatchRow
from ..states import State
from .executor import Executor
from .settlement import Task

_log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class Savings:
    """
    What of a manifest is in a ledger already.

    Attributes:
        requests: Requests that need not be paid for.
        images: Images that they make.
        saved_nano: What they would have cost, as far as their prices are known.
    """

    requests: int
    images: int
    saved_nano: int

    @property
    def saved_usd(self) -> float:
        """`saved_nano` in USD."""
        return to_usd(self.saved_nano)


class Reuse:
    """
    A ledger beside a batch.

    No two requests of one job are given the same paid call: identical rows want several images.

    Args:
        ledger: Read from and added to.
        images: Reads the input images of requests, whose bytes are part of what makes two the same.
        out: The batch's directory; None where images stay in memory.
    """

    def __init__(self, ledger: PaidLedger, images: Pipeline, out: Path | None) -> None:
        self._ledger = ledger
        self._keyed = images.keyed
        self._job = job_of(out)
        self._out = out
        self._journal: Journal | None = None

    async def open(self, journal: Journal | None) -> None:
        """
        Open the ledger, and add what this job has paid for without telling it.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        await self._ledger.open()
        self._journal = journal
        if journal is None or self._out is None:
            return
        told = await self._ledger.write(partial(LedgerStore.count_given, job=self._job))
        if told >= (await journal.totals()).units[State.DONE]:
            return
        async for record in journal.units():
            if record.state is not State.DONE or not record.images:
                continue
            files = [
                (kept.image.index, self._out / kept.image.file)
                for kept in record.images
                if not kept.image.is_elsewhere
            ]
            result = GenerationResult(
                images=tuple(Image(index=index, path=path) for index, path in files),
                model=record.unit.row.model,
                prompt=record.unit.row.prompt,
                asked=record.unit.images,
                cost_usd=record.cost_usd,
                request_id=record.request_id,
            )
            print_ = await self._print(record.unit.row, record.unit.n)
            await self._add(record.unit.id, print_, result)

    async def aclose(self) -> None:
        """Close the ledger."""
        await self._ledger.aclose()

    async def execute(self, work: Executor, task: Task) -> BatchEvent | None:
        """The outcome of *task*: copied where it is paid for, else carried out by *work* and kept."""
        if task.request is None or task.problem is not None:
            return await work.execute(task)
        try:
            print_ = await self._print(task.unit.row, task.unit.n)
            find = partial(LedgerStore.by_content, content=print_.content, job=self._job, unit=task.unit.id)
            if await self._ledger.read(find) is not None:
                entry = await self._ledger.write(partial(self._take, print_.content, task.unit.id))
                if entry is not None:
                    return await self._copied(work, task, entry)
        except NanoGPTError as error:
            return await work.execute(attrs.evolve(task, problem=error))
        event = await work.execute(task)
        await self.keep(task, event)
        return event

    async def keep(self, task: Task, event: BatchEvent | None) -> None:
        """Add to the ledger what *task* was paid for, if it is done."""
        if event is None or event.state is not State.DONE or event.result is None:
            return
        try:
            await self._add(task.unit.id, await self._print(task.unit.row, task.unit.n), event.result)
        except NanoGPTError as error:
            # The image is paid for, on disk and in the journal; the next run of this job adds it.
            _log.warning("%s could not be added to the ledger: %s", task.unit.name, error)

    def _take(self, content: str, unit: str, store: LedgerStore) -> LedgerEntry | None:
        entry = store.by_content(content, self._job, unit)
        if entry is not None:
            store.give(entry.seq, self._job, unit)
        return entry

    async def _copied(self, work: Executor, task: Task, entry: LedgerEntry) -> BatchEvent:
        store = work.settlement.store(task.unit)
        images = await in_thread(self._copy, entry, store)
        result = attrs.evolve(result_of(entry, images), cost_usd=0.0, cost=None)
        return await work.settlement.reused(task, result, self._journal)

    def _copy(self, entry: LedgerEntry, store: ImageStore) -> list[Image]:
        indices: list[int] = []
        for kept in entry.images:
            data = read_checked(self._ledger.folder, kept, described(entry.name))
            store.open(kept.index, entry.request_id).write(data)
            indices.append(kept.index)
        store.is_slow(indices)
        return [Image.stored(image) for image in store.finish(indices)]

    async def _add(self, unit: str, print_: Fingerprint, result: GenerationResult) -> None:
        keeping = await in_thread(self._keep_files, result)
        add = partial(
            LedgerStore.add,
            print_=print_,
            images=keeping.images,
            answer=answer_json(answer_of(attrs.evolve(result, images=()))),
            cost_nano=0 if result.cost_usd is None else to_nano(result.cost_usd),
            request_id=result.request_id,
            job=self._job,
            unit=unit,
        )
        await self._ledger.write(add, keeping.files, keeping.unwritten)

    def _keep_files(self, result: GenerationResult) -> Keeping:
        folder = self._ledger.folder
        store = BlobStore(folder)
        in_memory = {image.index: image.data for image in result.images if image.path is None and image.data}
        for index, data in in_memory.items():
            store.open(index).write(data)
        held = Keeping.of(store.finish(list(in_memory)), folder)
        copied = [
            attrs.evolve(copy_in(image.path, folder), index=image.index)
            for image in result.images
            if image.path is not None
        ]
        return attrs.evolve(
            held,
            images=[*held.images, *copied],
            files=[*held.files, *(folder / image.file for image in copied)],
        )

    async def _print(self, row: BatchRow, n: int | None) -> Fingerprint:
        return await self._keyed.fingerprint(request_of(row, n), service=await self._ledger.open())


async def savings(
    rows: Iterable[BatchRow | ManifestError],
    models: Callable[[str], Model | None],
    *,
    ledger: PaidLedger,
    keyed: KeyedImages,
    out: Path | None = None,
) -> Savings:
    """
    Count what of *rows* a job would copy from *ledger*, and what that saves. Nothing is sent.

    Args:
        rows: Of the manifest; those that cannot be read count for nothing.
        models: Finds a model by its ID.
        ledger: The ledger; one that does not exist holds nothing, and is not made.
        keyed: Reads the input images of requests.
        out: The job's directory: what it was given before is not counted again.
    """
    if not await in_thread(ledger.path.exists):
        return Savings(requests=0, images=0, saved_nano=0)
    service, job = await ledger.open(), job_of(out)
    taken: Counter[str] = Counter()
    requests = made = saved = 0
    for row in rows:
        if isinstance(row, ManifestError):
            continue
        model = models(row.model)
        rule = ONE_IMAGE if model is None else model.count_rule
        try:
            for n in split_count(row.count, rule):
                print_ = await keyed.fingerprint(request_of(row, n), service=service)
                count = partial(LedgerStore.count_content, content=print_.content, job=job)
                if taken[print_.content] >= await ledger.read(count):
                    continue
                taken[print_.content] += 1
                requests += 1
                made += rule.images(n)
                price = unit_price(model or Model(id=row.model), row, rule.images(n))
                saved += 0 if price is None else price.expected_nano
        except NanoGPTError:
            continue  # the plan names what is wrong with the row
    return Savings(requests=requests, images=made, saved_nano=saved)


def job_of(out: Path | None) -> str:
    """What a ledger calls the job in *out*; a job without a directory is never met again."""
    if out is None:
        return uuid.uuid4().hex
    return hashlib.sha256(os.fsencode(out.absolute())).hexdigest()
