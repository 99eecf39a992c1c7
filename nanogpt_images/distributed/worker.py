"""A worker of a distributed batch: requests as in a local batch, with the journal at the coordinator."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Final

import anyio

from .._base.descriptors import room_for
from .._base.threads import in_thread
from ..batch.events import Tally
from ..batch.run.assembly import assemble
from ..batch.run.concurrency import ConcurrencyLimit
from ..batch.run.executor import Executor
from ..batch.run.objects import ObjectStorage
from ..batch.run.settlement import Task
from ..batch.run.stop_signal import StopSignal
from ..batch.run.uploading import Uploading
from ..batch.states import State
from ..client import AsyncClient, pipeline_of
from ..errors import NanoGPTError
from ..money.budget import Budget
from ..transport.retry import RetryPolicy
from .coordinator_client import CoordinatorClient
from .messages import ForWorkers, Job
from .remote import RemotePacing, RemoteRecorder

_MIN_PATIENCE: Final = 8


class Worker:
    """
    Executes what it leases.

    Args:
        job: What is to be done.
        coordinator: Leases tasks, and takes reports.
        name: Differs from the names of all other workers, past ones included.
        key: Number of its key among those of the job.
        concurrency: Requests at once.
        retry: As for `AsyncClient`.
    """

    def __init__(
        self,
        job: Job,
        coordinator: ForWorkers,
        *,
        name: str,
        key: int,
        concurrency: int,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._job = job
        self._concurrency = concurrency
        self._retry = retry
        self._key = key
        self._stop_signal = StopSignal(patience=max(_MIN_PATIENCE, concurrency), keep_going=True)
        self._coordinator = CoordinatorClient(
            coordinator, worker=name, key=key, stop_signal=self._stop_signal
        )
        self._tasks: dict[str, Task] = {}
        self._waiting: deque[Task] = deque()
        self._leasing = anyio.Lock()
        self._over = False

    async def run(self) -> None:
        """
        Work until nothing is left, or until it has to stop; the coordinator knows why.

        Raises:
            NanoGPTError: The coordinator is lost for good.
        """
        self._concurrency = await in_thread(room_for, self._concurrency)
        async with (
            AsyncClient(
                self._job.keys[self._key].key,
                self._job.base_url,
                requests_per_second=None,
                retry=self._retry,
                timeout_s=self._job.timeout_s,
                max_connections=self._concurrency,
            ) as client,
            self._coordinator,
        ):
            # As a local batch has it cached: it tells how many images a request makes.
            with contextlib.suppress(NanoGPTError):
                await client.catalog.list()
            executor = self._executor(client)
            async with anyio.create_task_group() as group:
                for _ in range(self._concurrency):
                    group.start_soon(self._serve, executor)
            await self._coordinator.leave(self._stop_signal.reason)

    def _executor(self, client: AsyncClient) -> Executor:
        remote = RemoteRecorder(self._coordinator, self._tasks, self._job.out)
        url = self._job.options.images_url
        return assemble(
            self._job.options,
            images=pipeline_of(client),
            recorder=remote if url is None else Uploading(remote, ObjectStorage(url), self._job.out),
            # Money is the coordinator's: here nothing is capped.
            budget=Budget(None),
            stop_signal=self._stop_signal,
            tally=Tally(),
            concurrency_limit=ConcurrencyLimit(self._concurrency),
            pacers=[RemotePacing(self._coordinator, remote)],
        )

    async def _serve(self, executor: Executor) -> None:
        while (task := await self._next()) is not None:
            try:
                event = await executor.execute(task)
            except NanoGPTError as error:
                self._stop_signal.stop(error)
                return
            finally:
                self._tasks.pop(task.unit.id, None)
            if event is None or event.state is State.PENDING:
                # Refused for load: the coordinator gives it out again.
                await self._coordinator.give_back(task)
            else:
                self._coordinator.note(event)

    async def _next(self) -> Task | None:
        """Take the next task; None when no more will come."""
        async with self._leasing:
            while not self._waiting and not self._over and not self._stop_signal.requested:
                with anyio.CancelScope() as waiting:
                    self._stop_signal.cancel_on_stop(waiting)
                    leased = await self._coordinator.lease(self._concurrency)
                    self._over = leased.over
                    self._waiting.extend(leased.tasks)
                self._stop_signal.shield(waiting)
            if self._stop_signal.requested or not self._waiting:
                return None
            task = self._waiting.popleft()
            self._tasks[task.unit.id] = task
            return task
