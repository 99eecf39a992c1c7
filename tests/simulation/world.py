"""
One seed's world: choices, virtual time, simulated processes, and an event loop that picks what runs next.

Whatever a run decides is drawn from `Choices`, where 0 is the tame decision: the next callback in order, no fault, the
shortest delay. So a run is replayed by its seed, and shrunk by setting choices to 0.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import heapq
import logging
import math
import random
from collections.abc import Coroutine
from pathlib import Path

PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)
WALL_AT_START = 1_790_000_000.0
TICK_S = 1e-5
MOST_STEPS = 60_000
MOST_SECONDS = 30 * 86_400.0


class Killed(BaseException):
    """The simulated process is dead: nothing of it runs any more."""


class Violation(AssertionError):  # noqa: N818 - a verdict, not a mistake of the code that raises it
    """Something that must never happen has happened."""


class Choices:
    """
    The decisions of a run, in order.

    Args:
        seed: They are drawn with it.
        given: Instead, these; after them every decision is tame.
    """

    def __init__(self, seed: int, given: list[int] | None = None) -> None:
        self.made: list[int] = []
        self._given = given
        self._random = random.Random(seed).random

    def below(self, n: int) -> int:
        """Draw a number from 0 to n - 1."""
        if n <= 1:
            return 0
        made = self.made
        if self._given is None:
            value = int(self._random() * n)
        else:
            value = self._given[len(made)] if len(made) < len(self._given) else 0
            value = min(value, n - 1)
        made.append(value)
        return value

    def chance(self, percent: float) -> bool:
        """Decide for something that happens so often; False is tame."""
        return percent > 0 and self.below(10_000) >= 10_000 - percent * 100

    def between(self, low: float, high: float) -> float:
        """Draw a number of seconds; the least is tame."""
        return low + (high - low) * self.below(1_000) / 1_000

    def magnitude(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is spread evenly."""
        return low * math.exp(math.log(high / low) * self.below(1_000) / 999)

    def one_of(self, options):
        """Draw one of *options*; the first is tame."""
        return options[self.below(len(options))]


class Process:
    """A simulated process: its tasks have it in their context; what it holds open ends with it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.pid = 5_000_000 + len(world.processes)
        self.dead = False
        self.disturbed = False
        self.in_flight = 0
        self.concurrency = 1_000
        self.fuse = 0
        self.descriptors: set[int] = set()
        self.connections: list = []
        self.tasks: list[Task] = []
        self.task: asyncio.Task | None = None
        self.ended: asyncio.Future = world.loop.create_future()
        world.processes.append(self)

    def start(self, main: Coroutine, *, fuse: int = 0, power: bool = False) -> None:
        """Run *main*; after *fuse* points the process is killed, or all lose their power."""
        self.fuse, self.power = fuse, power
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        self.task = self.world.loop.create_task(main, context=context)
        self.task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task) -> None:
        if not self.dead and not self.ended.done():
            self.ended.set_result("cancelled" if task.cancelled() else task.exception())

    def cancel(self) -> None:
        """Cancel its main task, as Ctrl-C does."""
        self.disturbed = True
        self.task.cancel()

    def point(self, what: str) -> None:
        """Pass a point at which the process can be killed; raise Killed where it is, or was before."""
        if self.dead:
            raise Killed
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.world.kill(self, what)
                raise Killed


class Task(asyncio.Task):
    """A task whose hash does not depend on its address, so that sets of tasks have one order in every process."""

    def __hash__(self) -> int:
        try:
            return self.number
        except AttributeError:
            self.number = number = Task.count = Task.count + 1
            return number

    count = 0


class Loop(asyncio.BaseEventLoop):
    """An event loop with virtual time that picks among the callbacks that are ready."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.now = 0.0
        self.steps = 0
        self.jumble = 0
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._unhandled)

    @staticmethod
    def _make_task(loop, coro, **options):
        task = Task(coro, loop=loop, **options)
        context = options.get("context")
        task.process = process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.append(task)
        return task

    def time(self) -> float:
        return self.now

    def _write_to_self(self) -> None:
        pass

    def _unhandled(self, loop, context) -> None:
        error = context.get("exception")
        if isinstance(error, Killed):
            return
        task = context.get("future") or context.get("task")
        if task is not None and isinstance(task, asyncio.Task):
            process = task.process
            if process is not None and process.dead:
                return
        self.world.violate("nothing is raised unseen", f"{context.get('message')}: {error!r}")

    def drive(self, until: asyncio.Future) -> None:
        """Run callbacks until *until* is done."""
        ready, scheduled, world = self._ready, self._scheduled, self.world
        below = world.choices.below
        calm = 0
        pop = heapq.heappop
        process_of = PROCESS
        while not until.done():
            while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self.now):
                timer = pop(scheduled)
                timer._scheduled = False
                if not timer._cancelled:
                    ready.append(timer)
            if not ready:
                if not scheduled:
                    raise Violation("a run ends: nothing is left to happen")
                self.now = scheduled[0]._when
                continue
            if self.jumble and len(ready) > 1:
                if calm:
                    calm -= 1
                    handle = ready.popleft()
                else:
                    calm = below(self.jumble)
                    place = below(min(len(ready), 8))
                    if place == 0 and calm == 0:
                        calm = 50
                    handle = ready[place]
                    del ready[place]
            else:
                handle = ready.popleft()
            if handle._cancelled:
                continue
            self.now += TICK_S
            self.steps += 1
            if self.steps > world.most_steps or self.now > MOST_SECONDS:
                raise Violation(f"a run ends: it has made {self.steps} steps in {self.now:.0f} s")
            process = handle._context.get(process_of)
            if process is not None:
                if process.dead:
                    world.graveyard.append(handle)
                    continue
                if process.fuse:
                    try:
                        process.point("between callbacks")
                    except Killed:
                        world.graveyard.append(handle)
                        world.bury()
                        continue
            handle._run()
            if world.fallen:
                world.bury()
            if world.violation is not None:
                raise world.violation


class World:
    """All that one seed has: time, choices, processes, a disk, a service, and what was seen."""

    def __init__(
        self, seed: int, root: Path, *, given: list[int] | None = None, tracing: bool = False
    ) -> None:
        self.seed = seed
        self.root = root
        self.choices = Choices(seed, given)
        self.tracing = tracing
        self.trace: list[str] = []
        self.processes: list[Process] = []
        self.fallen: list[Process] = []
        self.graveyard: list = []
        self.met: collections.Counter[str] = collections.Counter()
        self.most_steps = MOST_STEPS
        self.wall_offset = 0.0
        self.booted_at = 0.0
        self.power_lost = False
        self.violation: Violation | None = None
        self.disk = None
        self.tokens = 0
        self.loop = Loop(self)
        Task.count = 0
        random.seed(seed)

    def wall(self) -> float:
        """Seconds since the epoch, as the machine's clock says."""
        return WALL_AT_START + self.loop.now + self.wall_offset

    def monotonic(self) -> float:
        """Seconds since the machine was started."""
        return self.loop.now - self.booted_at

    def token(self) -> int:
        """Make a number that was not there before."""
        self.tokens += 1
        return (self.tokens * 0x9E3779B97F4A7C15 + self.seed * 0xBF58476D1CE4E5B9) & (2**128 - 1)

    def note(self, text: str, *facts: object) -> None:
        """Add a line to the trace."""
        if self.tracing:
            process = PROCESS.get()
            who = "service" if process is None else process.name
            told = " ".join(map(str, facts)).replace(str(self.root), "ROOT")
            self.trace.append(f"{self.loop.now:14.5f}  {who:10} {text} {told}".rstrip())

    def meet(self, what: str, *facts: object) -> None:
        """Count a fault that happened, and note it."""
        self.met[what] += 1
        self.note(f"! {what}", *facts)

    def violate(self, rule: str, facts: str) -> None:
        """End the run: *rule* is broken."""
        self.note(f"VIOLATION: {rule}", facts)
        # The code under test may catch what is raised here; the loop raises it again.
        self.violation = self.violation or Violation(f"{rule}: {facts}".replace(str(self.root), "ROOT"))
        raise self.violation

    def kill(self, process: Process, where: str) -> None:
        """Let *process* die here, or all where the power is lost; `bury` follows once its callback is left."""
        if process.power:
            self.power_lost = True
            self.meet("power cut", where)
            fallen = [each for each in self.processes if not each.dead and not each.ended.done()]
        else:
            self.meet("kill", where)
            fallen = [process]
        for each in fallen:
            each.dead = each.disturbed = True
        self.fallen += fallen

    def bury(self) -> None:
        """Close what dead processes held, as the kernel does."""
        fallen, self.fallen = self.fallen, []
        if self.power_lost:
            self.disk.lose_power(fallen)
            self.power_lost = False
            self.booted_at = self.loop.now
        else:
            self.disk.release(fallen)
        for process in fallen:
            self.graveyard.append(process)
            if not process.ended.done():
                process.ended.set_result("killed")


def quiet() -> None:
    """Keep the package's and asyncio's logs off the screen."""
    logging.disable(logging.CRITICAL)
