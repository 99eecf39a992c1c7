"""Ray itself: the only module that imports it. It carries coordinator and workers, and repeats nothing."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import anyio.to_thread
import attrs

from ..._retry import RetryPolicy
from ...batch.endings import Task
from ...batch.events import BatchEvent
from ...batch.journal import Totals
from ...batch.rows import BatchRow
from ...errors import ConfigurationError, JournalError, NanoGPTError
from .coordinator import Coordinator
from .messages import Beat, InFlight, Job, Leased, Opened, Status, UnreachableError
from .reports import Report
from .worker import Worker

NAMESPACE: Final = "nanogpt_images"
LOCAL: Final = "local"
_STORE_BYTES: Final = 100 * 2**20
_MOST_CALLS: Final = 10_000
_MOST_RESTARTS: Final = 100
_ORPHAN_S: Final = 60.0
_SILENT_S: Final = 10.0
# Ray says that it does not start the actor again. It is asked once more or twice all the same.
_DEAD_S: Final = 3.0


def load_ray() -> Any:
    """
    The module `ray`.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigurationError(
            "Ray is not installed: pip install 'nanogpt_images[ray]'. Nothing was sent."
        ) from error


@attrs.frozen
class _Failure:
    """An expected error on its way: as a value it stays what it is, where Ray would wrap it."""

    error: NanoGPTError


class CoordinatorActor:
    """The actor around a `Coordinator`; Ray makes it anew, with the same arguments, when its process dies."""

    def __init__(self, job: Job) -> None:
        context = load_ray().get_runtime_context()
        self._coordinator = Coordinator(job, restarted=bool(context.was_current_actor_reconstructed))
        self._watch: asyncio.Task[None] | None = None

    async def call(self, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        """Call a method of the coordinator."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._end_without_driver())
        try:
            answer: object = await getattr(self._coordinator, method)(*args, **kwargs)
        except NanoGPTError as error:
            return _Failure(error)
        return answer

    async def driver_silence_s(self) -> float:
        """For how long no driver has asked for anything."""
        return time.monotonic() - self._coordinator.driver_heard_at

    async def _end_without_driver(self) -> None:
        # It outlives its driver, so that its journal is closed in order; and not for much longer.
        rest_s = _ORPHAN_S
        while rest_s > 0:
            await asyncio.sleep(rest_s)
            rest_s = _ORPHAN_S - await self.driver_silence_s()
        await self._coordinator.aclose()
        ray = load_ray()
        ray.kill(ray.get_runtime_context().current_actor)


class WorkerActor:
    """The actor around a `Worker`."""

    def __init__(
        self,
        job: Job,
        coordinator: Any,
        *,
        name: str,
        key: int,
        concurrency: int,
        retry: RetryPolicy | None,
    ) -> None:
        remote = RayCoordinator(coordinator)
        self._worker = Worker(job, remote, name=name, key=key, concurrency=concurrency, retry=retry)

    async def run(self) -> object:
        """Work to the end."""
        try:
            await self._worker.run()
        except NanoGPTError as error:
            return _Failure(error)
        return None


class RayCoordinator:
    """A coordinator behind its handle; see `messages.ForWorkers` and `messages.ForDriver`."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def _call(self, method: str, *args: object, **kwargs: object) -> Any:
        return _opened(await _answer(self.handle.call.remote(method, args, kwargs)))

    async def begin(self, *, retry: bool, unknown: bool) -> Opened:
        """See `ForDriver`."""
        return cast("Opened", await self._call("begin", retry=retry, unknown=unknown))

    async def offer(self, epoch: str, rows: Sequence[BatchRow]) -> bool:
        """See `ForDriver`."""
        return bool(await self._call("offer", epoch, rows))

    async def complete(self, epoch: str, *, from_journal: bool) -> bool:
        """See `ForDriver`."""
        return bool(await self._call("complete", epoch, from_journal=from_journal))

    async def status(self) -> Status:
        """See `ForDriver`."""
        return cast("Status", await self._call("status"))

    async def drain(self, reason: NanoGPTError | None) -> None:
        """See `ForDriver`."""
        await self._call("drain", reason)

    async def lost(self, worker: str) -> None:
        """See `ForDriver`."""
        await self._call("lost", worker)

    async def finish(self) -> Totals:
        """See `ForDriver`."""
        return cast("Totals", await self._call("finish"))

    async def hello(self, worker: str, key: int, in_flight: Sequence[InFlight]) -> str:
        """See `ForWorkers`."""
        return str(await self._call("hello", worker, key, in_flight))

    async def beat(self, worker: str, events: Sequence[BatchEvent]) -> Beat:
        """See `ForWorkers`."""
        return cast("Beat", await self._call("beat", worker, events))

    async def lease(self, worker: str, count: int) -> Leased:
        """See `ForWorkers`."""
        return cast("Leased", await self._call("lease", worker, count))

    async def send(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        """See `ForWorkers`."""
        return bool(await self._call("send", worker, unit_id, reserved_nano))

    async def started(self, worker: str, count: int) -> None:
        """See `ForWorkers`."""
        await self._call("started", worker, count)

    async def paused(self, worker: str, seconds: float) -> None:
        """See `ForWorkers`."""
        await self._call("paused", worker, seconds)

    async def report(self, worker: str, task: Task, report: Report) -> None:
        """See `ForWorkers`."""
        await self._call("report", worker, task, report)

    async def give_back(self, worker: str, unit_id: str) -> None:
        """See `ForWorkers`."""
        await self._call("give_back", worker, unit_id)

    async def leave(self, worker: str, reason: NanoGPTError | None, events: Sequence[BatchEvent]) -> None:
        """See `ForWorkers`."""
        await self._call("leave", worker, reason, events)


class RayCluster:
    """
    A Ray cluster as the driver of one job uses it. Make it with `connect`.

    Attributes:
        coordinator: The job's coordinator.
    """

    coordinator: RayCoordinator

    def __init__(self, job: Job, retry: RetryPolicy | None, *, started_ray: bool) -> None:
        self._job = job
        self._retry = retry
        self._started_ray = started_ray
        self._ray = load_ray()

    @classmethod
    async def connect(
        cls, job: Job, *, address: str, workers: int, retry: RetryPolicy | None = None
    ) -> RayCluster:
        """
        Connect to a cluster, or start one on this machine, and start the job's coordinator on this node.

        Args:
            job: The job.
            address: As `ray.init` takes it, or `local`. A program that has called `ray.init` uses that cluster.
            workers: For a cluster of this machine: how many workers it has room for.
            retry: See `AsyncClient`.

        Raises:
            ConfigurationError: Ray is not installed, or there is no cluster at the address.
            JournalError: Another driver is at work on the job.
        """
        ray = load_ray()
        starts = not ray.is_initialized()
        if starts:
            await anyio.to_thread.run_sync(partial(_init, ray, address, workers))
        cluster = cls(job, retry, started_ray=starts)
        try:
            handle = await anyio.to_thread.run_sync(cluster._start_coordinator)
        except BaseException:
            await cluster._shut_down()
            raise
        cluster.coordinator = RayCoordinator(handle)
        return cluster

    async def work(self, name: str, key: int, concurrency: int) -> None:
        """See `Cluster`."""
        actor = self._ray.remote(WorkerActor).options(
            num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        worker = actor.remote(
            self._job,
            self.coordinator.handle,
            name=name,
            key=key,
            concurrency=concurrency,
            retry=self._retry,
        )
        try:
            _opened(await _answer(worker.run.remote()))
        finally:
            self._ray.kill(worker)

    async def aclose(self) -> None:
        """End the coordinator, whose journal is closed by now, and a cluster that was started for the job."""
        await anyio.to_thread.run_sync(partial(self._ray.kill, self.coordinator.handle, no_restart=True))
        await self._shut_down()

    async def _shut_down(self) -> None:
        if self._started_ray:
            await anyio.to_thread.run_sync(self._ray.shutdown)

    def _start_coordinator(self) -> Any:
        ray, name = self._ray, coordinator_name(self._job.out)
        self._end_orphan(name)
        node = ray.get_runtime_context().get_node_id()
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        actor = ray.remote(CoordinatorActor).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=_MOST_RESTARTS,
            max_task_retries=0,
            max_concurrency=_MOST_CALLS,
            # The journal is a file of this machine.
            scheduling_strategy=affinity(node_id=node, soft=False),
        )
        try:
            return actor.remote(self._job)
        except ValueError as error:
            raise _in_use(self._job.out) from error

    def _end_orphan(self, name: str) -> None:
        ray = self._ray
        try:
            handle = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            return
        try:
            if ray.get(handle.driver_silence_s.remote(), timeout=10) < _SILENT_S:
                raise _in_use(self._job.out)
            ray.get(handle.call.remote("aclose", (), {}), timeout=60)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            pass
        ray.kill(handle, no_restart=True)


def coordinator_name(out: Path) -> str:
    """The name of the coordinator whose journal is in *out*."""
    return f"nanogpt-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}"


def _init(ray: Any, address: str, workers: int) -> None:
    common: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "error"}
    try:
        if address == LOCAL:
            ray.init(
                address=LOCAL,  # without it Ray connects to whatever was started on this machine at last
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **common,
            )
        else:
            ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"there is no Ray cluster at {address}: {error} Nothing was sent."
        ) from error


async def _answer(reference: Any) -> object:
    exceptions = importlib.import_module("ray.exceptions")
    try:
        return await reference
    except exceptions.ActorDiedError as error:
        raise UnreachableError(str(error), patience_s=_DEAD_S) from error
    except exceptions.RayActorError as error:
        raise UnreachableError(str(error)) from error


def _opened(answer: object) -> object:
    if isinstance(answer, _Failure):
        raise answer.error
    return answer


def _in_use(out: Path) -> JournalError:
    return JournalError(
        f"{out} is in use by another driver on this cluster, or was {_SILENT_S:.0f} s ago. Nothing was sent."
        " Wait until it ends."
    )
