"""Ray runs coordinator and workers; it decides nothing, and repeats nothing."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..._base.threads import in_thread
from ...distributed.coordinator import Coordinator
from ...distributed.messages import Job
from ...distributed.worker import Worker
from ...errors import ConfigurationError, JournalError, NanoGPTError
from ...transport.retry import RetryPolicy
from .calls import CallFailure, RayCoordinator, answer, load_ray, opened

NAMESPACE: Final = "nanogpt_images"
LOCAL: Final = "local"
_STORE_BYTES: Final = 100 * 2**20
_MOST_CALLS: Final = 10_000
_MOST_RESTARTS: Final = 100
_ORPHAN_S: Final = 60.0
_SILENT_S: Final = 10.0


class CoordinatorActor:
    """The actor around a `Coordinator`; Ray restarts it with the same arguments when its process dies."""

    def __init__(self, job: Job) -> None:
        context = load_ray().get_runtime_context()
        self._coordinator = Coordinator(job, restarted=bool(context.was_current_actor_reconstructed))
        self._watch: asyncio.Task[None] | None = None

    async def call(self, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        """Call a method of the coordinator."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._end_without_driver())
        try:
            found: object = await getattr(self._coordinator, method)(*args, **kwargs)
        except NanoGPTError as error:
            return CallFailure(error)
        return found

    async def driver_silence_s(self) -> float:
        """Return for how many seconds no driver has called."""
        return time.monotonic() - self._coordinator.driver_heard_at

    async def _end_without_driver(self) -> None:
        # It outlives its driver for a while, so that its journal is closed properly.
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
            return CallFailure(error)
        return None


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
            retry: As for `AsyncClient`.

        Raises:
            ConfigurationError: Ray is not installed, or there is no cluster at the address.
            JournalError: Another driver works on the job.
        """
        ray = load_ray()
        starts = not ray.is_initialized()
        if starts:
            await in_thread(partial(_init, ray, address, workers))
        cluster = cls(job, retry, started_ray=starts)
        try:
            handle = await in_thread(cluster._start_coordinator)
        except BaseException:
            await cluster._shut_down()
            raise
        cluster.coordinator = RayCoordinator(handle)
        return cluster

    async def work(self, name: str, key: int, concurrency: int) -> None:
        """Run a worker to its end."""
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
            opened(await answer(worker.run.remote()))
        finally:
            self._ray.kill(worker)

    async def aclose(self) -> None:
        """End the coordinator, whose journal is closed by now, and a cluster that was started for the job."""
        await in_thread(partial(self._ray.kill, self.coordinator.handle, no_restart=True))
        await self._shut_down()

    async def _shut_down(self) -> None:
        if self._started_ray:
            await in_thread(self._ray.shutdown)

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
    """Return the name of the coordinator whose journal is in *out*."""
    return f"nanogpt-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}"


def _init(ray: Any, address: str, workers: int) -> None:
    common: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "error"}
    try:
        if address == LOCAL:
            ray.init(
                address=LOCAL,  # without it Ray connects to the cluster that was last started on this machine
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
            f"there is no Ray cluster at {address}: {error}", says_charge=True
        ) from error


def _in_use(out: Path) -> JournalError:
    return JournalError(
        f"{out} is in use by another driver on this cluster, or was {_SILENT_S:.0f} s ago.",
        advice="Wait until it ends.",
        says_charge=True,
    )
