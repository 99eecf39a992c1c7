"""
A batch on a Ray cluster: `ray_batch()` is used like `AsyncClient.batch()`, with the same journal and the same report.

    async with ray_batch(rows, out="out/", workers=4) as run:
        async for event in run:
            print(event.key, event.state)

Needs the extra `ray`; Ray is imported when a batch is entered. See docs/ray.md for what is guaranteed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ..._base.threads import in_thread
from ...batch.batch_options import BatchOptions
from ...batch.manifest.reader import ManifestRows
from ...batch.manifest.source import record_of
from ...batch.rows import refuse_one_row
from ...batch.run.task_source import Rows
from ...distributed.driver import Cluster, DistributedBatch
from ...distributed.messages import ApiKey, Job
from ...distributed.replay import ReplayableRows
from ...errors import ConfigurationError, ParameterError
from ...transport.options import ClientOptions
from ...transport.retry import RetryPolicy
from .data import results_of, rows_of

__all__ = ["ApiKey", "DistributedBatch", "ray_batch", "results_of", "rows_of"]


def ray_batch(
    rows: Rows | None,
    *,
    out: str | os.PathLike[str],
    keys: Sequence[str | ApiKey] = (),
    base_url: str | None = None,
    address: str = "local",
    workers: int = 2,
    concurrency: int = 64,
    requests_per_second: float | None = 25,
    budget_usd: float | None = None,
    assume_price_usd: float | None = None,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
    validate: bool = True,
    provenance: bool = False,
    images_url: str | None = None,
    retry: RetryPolicy | None = None,
    retry_unknown: bool = False,
    timeout_s: float = 300.0,
) -> DistributedBatch:
    """
    Make a batch whose requests are sent by workers on a Ray cluster.

    Args:
        rows: See `AsyncClient.batch`; None for what the journal in *out* holds open. Unlike `AsyncClient.retry_batch`,
            that reads no manifest: `report.unread` counts its unread rows, and the same rows again finish it.
        out: Directory of the journal and of the images. Workers on other machines must see it under the same path.
        keys: API keys, which the workers share out; by default `NANOGPT_API_KEY`.
        base_url: See `AsyncClient`.
        address: Of the cluster, as `ray.init` takes it; `local` starts one on this machine. A program that has
            called `ray.init` itself uses that cluster.
        workers: Worker processes, at least one for each key; each takes one CPU of the cluster.
        concurrency: Requests at once, of all workers together.
        requests_per_second: Starts of each key in any one second; None switches pacing off.
        budget_usd: Never spend more on the job, earlier runs included; `ApiKey` can have a cap of its own.
        assume_price_usd: See `AsyncClient.batch`.
        model: See `AsyncClient.batch`.
        defaults: See `AsyncClient.batch`.
        validate: See `AsyncClient.batch`.
        provenance: See `AsyncClient.batch`.
        images_url: See `AsyncClient.batch`. Workers need credentials of their own for it.
        retry: See `AsyncClient`.
        retry_unknown: Without rows: also what was, or may have been, charged. It is paid for again.
        timeout_s: See `AsyncClient`.

    Raises:
        ConfigurationError: There is no key, or the base URL cannot be used.
        ParameterError: A number is out of range.
    """
    batch = BatchOptions(
        out=Path(out).absolute(),
        concurrency=concurrency,
        budget_usd=budget_usd,
        assume_price_usd=assume_price_usd,
        model=model,
        defaults=dict(defaults or {}),
        validate=validate,
        provenance=provenance,
        images_url=images_url,
        retry_unknown=retry_unknown,
    )
    if workers < 1:
        raise ParameterError(f"workers must be at least 1, not {workers}.", parameter="workers")
    refuse_one_row(rows)
    workers = max(workers, len(keys))
    given: list[ApiKey | None] = [key if isinstance(key, ApiKey) else ApiKey(key=key) for key in keys]
    options = [
        ClientOptions.resolve(
            api_key=None if key is None else key.key,
            base_url=base_url,
            timeout_s=timeout_s,
            connect_timeout_s=timeout_s,
            requests_per_second=requests_per_second,
            max_connections=concurrency,
            auth="bearer",
            headers={},
        )
        for key in given or [None]
    ]
    if any(option.api_key is None for option in options):
        raise ConfigurationError("no API key: pass keys= or set NANOGPT_API_KEY.", says_charge=True)
    job = Job(
        options=batch,
        base_url=options[0].base_url,
        keys=tuple(
            # A secret is not pickled; this one has to go to the workers.
            ApiKey(key=str(option.api_key or ""), budget_usd=None if key is None else key.budget_usd)
            for option, key in zip(options, given or [None], strict=True)
        ),
        requests_per_second=requests_per_second,
        timeout_s=timeout_s,
    )

    async def connect() -> Cluster:
        from .engine import RayCluster

        manifest = (
            await in_thread(record_of, rows, batch.defaults) if isinstance(rows, ManifestRows) else None
        )
        told = attrs.evolve(job, manifest=manifest)
        return await RayCluster.connect(told, address=address, workers=workers, retry=retry)

    return DistributedBatch(
        None if rows is None else ReplayableRows(rows),
        job=job,
        connect=connect,
        workers=workers,
    )
