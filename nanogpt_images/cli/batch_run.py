"""A manifest as a batch: plan it, announce it, run it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import attrs

from ..batch.batch_options import DEFAULT_AT_ONCE
from ..batch.journal import Totals
from ..batch.manifest.reader import ManifestRows
from ..batch.planning.totals import Estimate
from ..batch.run.progress import RunTarget
from ..batch.states import State
from ..client import AsyncClient
from ..errors import ManifestError, ParameterError
from ..money.nano import MAX_USD, to_nano
from .client import api_keys, number_of_keys, open_client
from .gallery_page import ahead, gallery_at_end
from .job import Run, run_batch, totals_of
from .manifests.consent import ask, left_to_pay_usd
from .manifests.manifest import Manifest, planned, refused_combinations, reusable, without_refused
from .output import count, money, note, one_line
from .summary import RunSummary, print_report
from .verbs.plan import cost_text, outline, reuse_text, say_left_out, time_text

_WORTH_SAYING_S: Final = 60.0


@attrs.frozen(kw_only=True)
class ClusterOptions:
    """
    The Ray cluster of a batch.

    Attributes:
        address: As `ray.init` takes it; `local` for one on this machine.
        workers: Worker processes.
    """

    address: str
    workers: int


@attrs.frozen(kw_only=True)
class BatchJob:
    """A batch as the options describe it; see `AsyncClient.batch`."""

    manifest: Manifest
    directory: Path
    again: tuple[str, ...]
    base_url: str | None = None
    sandbox: bool = False
    requests_per_second: float | None = 25
    concurrency: int | None = None
    budget_usd: float | None = None
    key_budget_usd: float | None = None
    confirm_above_usd: float | None = None
    skip_invalid: bool = False
    assume_price_usd: float | None = None
    join: bool = False
    keep_going: bool = False
    adopt: bool = False
    provenance: bool = False
    images_url: str | None = None
    reuse: Path | None = None
    validate: bool = True
    gallery: bool = True
    quiet: bool = False
    silent: bool = False
    as_json: bool = False
    ray: ClusterOptions | None = None

    @property
    def pace(self) -> float | None:
        """Most starts in a second, of all keys; None where nothing is paced, as for a sandbox in this process."""
        if self.requests_per_second is None or (self.sandbox and self.base_url is None):
            return None
        return self.requests_per_second * number_of_keys()

    @property
    def service(self) -> list[str]:
        """The options that name the service."""
        return service_options(self.base_url, sandbox=self.sandbox)


def service_options(base_url: str | None, *, sandbox: bool) -> list[str]:
    """Return the options that send the next command to the same service."""
    address = ["--base-url", base_url] if base_url is not None else []
    return [*address, *(["--sandbox"] if sandbox else [])]


async def work(job: BatchJob) -> RunSummary:
    """
    Plan, announce and run *job*.

    Raises:
        NanoGPTError: It could not start.
    """
    async with open_client(
        base_url=job.base_url,
        sandbox=job.sandbox,
        requests_per_second=job.requests_per_second,
        quiet=job.silent,
    ) as client:
        job, plan = await _plan(job, client)
        earlier = await totals_of(job.directory)
        if not job.silent:
            _announce(job, plan, earlier)
            if job.reuse is not None:
                found = await reusable(job.manifest, job.reuse, client, out=job.directory)
                note(f"reuse: {reuse_text(found, str(job.reuse))}")
        _agree(job, plan, earlier)
        goal = RunTarget(
            requests=None if plan is None else plan.requests,
            budget_usd=job.budget_usd,
            spent_usd=0.0 if earlier is None else earlier.spent_usd + earlier.unknown_usd,
            pace=job.pace,
        )
        rows = job.manifest.rows()
        if plan is not None and not plan.unpriced_requests and plan.cost_usd <= MAX_USD:
            rows.planned_nano = to_nano(plan.cost_usd)
        run = _batch(job, rows, client) if job.ray is None else _ray_batch(job, rows, job.ray, client)
        started = time.monotonic()
        async with ahead(job.directory, wanted=job.gallery):
            outcome = await run_batch(run, job.directory, goal, quiet=job.quiet, silent=job.silent)
        summary = RunSummary(
            outcome=outcome,
            plan=plan,
            directory=job.directory,
            again=job.again,
            service=job.service,
            elapsed_s=time.monotonic() - started,
            joined=job.join,
        )
        if not job.as_json:
            print_report(summary)
        if job.gallery:
            summary.gallery = await gallery_at_end(job.directory, outcome, silent=job.silent)
        return summary


def _batch(job: BatchJob, rows: ManifestRows, client: AsyncClient) -> Run:
    return client.batch(
        rows,
        out=job.directory,
        concurrency=job.concurrency,
        budget_usd=job.budget_usd,
        key_budget_usd=job.key_budget_usd,
        assume_price_usd=job.assume_price_usd,
        validate=job.validate,
        join=job.join,
        keep_going=job.keep_going,
        adopt=job.adopt,
        provenance=job.provenance,
        images_url=job.images_url,
        reuse=job.reuse,
    )


def _ray_batch(job: BatchJob, rows: ManifestRows, cluster: ClusterOptions, client: AsyncClient) -> Run:
    from ..integrations.ray import ApiKey, ray_batch

    return ray_batch(
        rows,
        out=job.directory,
        keys=[ApiKey(key=key, budget_usd=job.key_budget_usd) for key in api_keys(client.base_url)],
        base_url=client.base_url,
        address=cluster.address,
        workers=cluster.workers,
        concurrency=job.concurrency or DEFAULT_AT_ONCE,
        requests_per_second=job.requests_per_second if job.pace else None,
        budget_usd=job.budget_usd,
        assume_price_usd=job.assume_price_usd,
        validate=job.validate,
        provenance=job.provenance,
        images_url=job.images_url,
    )


def _agree(job: BatchJob, plan: Estimate | None, earlier: Totals | None) -> None:
    if plan is None or job.budget_usd is not None or job.confirm_above_usd is None:
        return
    cost_usd = left_to_pay_usd(plan, earlier)
    ask(cost_usd, above_usd=job.confirm_above_usd, may_ask=not job.silent)


async def _plan(job: BatchJob, client: AsyncClient) -> tuple[BatchJob, Estimate | None]:
    """Return the numbers of the manifest (None where nothing is checked), and the job without what is left out."""
    if not job.silent and job.manifest.is_large:
        note(f"checking all rows of {one_line(job.manifest.name)} first")
    if not job.validate:
        await job.manifest.check_whole()
        return job, None
    plan = await _numbers(job, client)
    refused = refused_combinations(plan)
    if not refused:
        return job, plan
    if not job.skip_invalid:
        first = refused[0]
        raise ManifestError(
            f"{count(len(refused), 'combination')} of {plan.rows:,} would be refused; {first.combination}: {first.message} "
            "'nanogpt-images plan' lists them, --skip-invalid leaves them out.",
            line=first.line,
        )
    if not job.silent:
        say_left_out(refused)
    job = attrs.evolve(job, manifest=await without_refused(job.manifest, client.catalog))
    return job, await _numbers(job, client)


async def _numbers(job: BatchJob, client: AsyncClient) -> Estimate:
    if job.manifest.model is not None:
        await client.catalog.get(job.manifest.model)  # names near matches of an unknown one
    plan = await planned(
        job.manifest,
        client.catalog,
        requests_per_second=job.requests_per_second,
        assume_price_usd=job.assume_price_usd,
        strict=True,
        quote=None if job.budget_usd is not None and job.assume_price_usd is None else False,
        under_budget=job.budget_usd is not None,
    )
    if plan.rows == plan.problem_count and not (job.skip_invalid and refused_combinations(plan)):
        problem = plan.problems[0]
        where = f"line {problem.line}: " if problem.line is not None else ""
        raise ManifestError(
            f"no row of {job.manifest.name} can be sent; {where}{problem.message}", line=problem.line
        )
    if plan.unpriced_requests and job.budget_usd is not None and job.assume_price_usd is None:
        raise ParameterError(
            f"no price is known for {count(plan.unpriced_requests, 'request')}, so --budget cannot be kept; "
            "say what an image may cost with --assume-price, or leave --budget out.",
            parameter="budget_usd",
        )
    return plan


def _left(plan: Estimate, earlier: Totals | None) -> str:
    """Say what is left of a plan of which earlier runs ended a part; nothing for a first run."""
    ended = (
        0
        if earlier is None
        else earlier.units[State.DONE] + earlier.units[State.UNKNOWN] + earlier.charged_failures
    )
    if earlier is None or not ended:
        return ""
    left = max(0, plan.requests - ended)
    cost = money(left_to_pay_usd(plan, earlier)) if left else money(0.0)
    return f"left: {count(left, 'request')} · cost {cost}; {ended:,} ended in earlier runs"


def _announce(job: BatchJob, plan: Estimate | None, earlier: Totals | None) -> None:
    budget = f" · budget {money(job.budget_usd)}" if job.budget_usd is not None else ""
    if plan is None:
        note(f"plan: not made, rows are sent unchecked{budget}")
        return
    if left := _left(plan, earlier):
        note(f"plan: {outline(plan)} in all")
        note(f"{left}{budget}")
    else:
        note(f"plan: {outline(plan)} · cost {cost_text(plan)}{budget}")
    if job.pace is not None and plan.duration_s >= _WORTH_SAYING_S:
        note(f"time: {time_text(plan, job.pace, job.concurrency)}")
    if plan.unpriced_requests:
        note(
            f"note: no price is known for {count(plan.unpriced_requests, 'request')}; --assume-price counts them"
        )
    if plan.problem_count:
        first = plan.problems[0]
        line = "" if first.message.startswith("line ") else f"line {first.line}: "
        note(
            f"note: {count(plan.problem_count, 'row')} will fail, {line}"
            f"{one_line(first.message)} 'nanogpt-images plan' lists all"
        )
