"""What a coordinator holds while its journal is open: the journal, an account and a pace for each key, the source of tasks."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

import attrs

from ..batch.events import Tally
from ..batch.journal import Journal, Totals
from ..batch.journal.key_budget import KeyBudget
from ..batch.recorder import Recorder
from ..batch.run.objects import ObjectStorage
from ..batch.run.task_source import TaskSource
from ..batch.run.uploading import Uploading
from ..client import AsyncClient, pipeline_of
from ..money.nano import to_nano
from ..transport.pacing.limiter import RateLimiter
from ..transport.pacing.pacer import FILE_NAME as PACE_FILE
from ..transport.pacing.pacer import Pacer
from .keys import pace_name
from .messages import ApiKey, Job


@attrs.frozen(kw_only=True)
class JobResources:
    """
    Attributes:
        recorder: The journal as images that were left on the disk enter it.
        accounts: The journal as each key uses it.
        pacers: The window of each key; None where there is no limit.
        client: Asks for the catalogue.
        source: Makes tasks of rows.
        opened: The sums of the journal at the beginning.
    """

    journal: Journal
    recorder: Recorder
    accounts: Sequence[Journal]
    pacers: Sequence[Pacer | None]
    client: AsyncClient
    source: TaskSource
    opened: Totals

    async def aclose(self) -> None:
        """Close everything; requests in flight become unknown."""
        for pacer in self.pacers:
            if pacer is not None:
                pacer.close()
        await self.client.aclose()
        await self.journal.aclose()


async def open_resources(job: Job, tally: Tally) -> JobResources:
    """
    Open the journal of *job*, which no other process may have open.

    Raises:
        JournalError: As for `Journal.open`.
        OutputError: As for `Journal.open`.
    """
    options = job.options
    url = options.images_url
    storage = None if url is None else ObjectStorage(url)
    if storage is not None:
        await storage.probe()
    client = AsyncClient(job.keys[0].key, job.base_url, requests_per_second=None)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        # Workers put their images on the disk themselves, before they report them.
        journal = await Journal.open(job.out, service=await client.service(), fsync_images=False)
        stack.push_async_callback(journal.aclose)
        if job.manifest is not None:
            await journal.follow(job.manifest)
        stack.pop_all()
    caps = [key.budget_usd for key in job.keys]
    return JobResources(
        journal=journal,
        recorder=journal if storage is None else Uploading(journal, storage, job.out),
        accounts=[journal]
        if caps == [None]
        else [_account(journal, number, key) for number, key in enumerate(job.keys, start=1)],
        pacers=[_pacer(job, number) for number in range(len(caps))],
        client=client,
        source=TaskSource(
            catalog=client.catalog,
            recorder=journal,
            tally=tally,
            options=options,
            needs_price=options.cap_nano is not None or caps.count(None) < len(caps),
            moderation=pipeline_of(client).moderation,
        ),
        opened=await journal.totals(),
    )


def _account(journal: Journal, number: int, key: ApiKey) -> KeyBudget:
    cap_nano = None if key.budget_usd is None else to_nano(key.budget_usd)
    # A key keeps its sums when the next run names the keys in another order.
    name = hashlib.sha256(key.key.encode()).hexdigest()[:16]
    return KeyBudget(journal, name, label=f"key {number}", cap_nano=cap_nano)


def _pacer(job: Job, number: int) -> Pacer | None:
    limiter = RateLimiter(job.requests_per_second)
    if limiter.limit is None:
        return None
    return Pacer(job.out, limiter.limit, limiter.span_s, name=pace_name(PACE_FILE, number))
