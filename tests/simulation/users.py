"""What users do in one seed: single calls, calls with keys, and batches that are killed, cancelled, left and resumed."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from auditor import Auditor
from seams import Disk
from service import FATES, NANO, Model, Service
from world import Process, World

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.errors import NanoGPTError

FREE_FATES = [fate for fate in FATES if fate != "served"]


class Story:
    """One seed: its faults, its users, and what must hold in between and at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.choices = world.choices
        world.disk = Disk(world)
        self.service = Service(world)
        self.auditor = Auditor(world, self.service)
        self.policy = RetryPolicy()
        self.limit: int | None = None
        self.budget: float | None = None
        self.cap_nano: int | None = None
        self.out = world.root / "out"
        self.is_priced = True

    def draw(self) -> None:
        """Draw what this seed is about: a subset of all faults, and sizes."""
        choices, service, world = self.choices, self.service, self.world
        if choices.chance(70):
            service.faults = [fate for fate in FREE_FATES if choices.chance(30)]
            service.fault_percent = choices.one_of((10, 3, 30, 60))
        if choices.chance(20):
            begin = choices.magnitude(0.1, 20)
            service.storm = (
                begin,
                begin + choices.magnitude(1, 60),
                choices.one_of(("429", "503", "no connection", "500 silent")),
            )
        if choices.chance(20):
            service.free_fault_percent = choices.one_of((10, 40))
            self.is_priced = False
        service.latency_s = choices.one_of((0.5, 0.05, 5.0, 40.0))
        service.says_cost_percent = choices.one_of((100, 0, 50))
        service.link_percent = choices.one_of((0, 0, 50, 100))
        world.loop.jumble = choices.one_of((0, 30, 6, 2))
        world.slow_percent = choices.one_of((0, 10, 50))
        if choices.chance(15):
            self.policy = RetryPolicy.documented()
        elif choices.chance(10):
            self.policy = RetryPolicy.none()
        self.limit = choices.one_of((None, 25, 3, 1))
        service.on_arrival = self._arrived
        if choices.chance(10):
            world.loop.call_later(choices.magnitude(0.1, 100), self._jump)

    @property
    def is_loose(self) -> bool:
        return self.policy.repeat_unknown

    def _jump(self) -> None:
        world = self.world
        world.wall_offset = self.choices.one_of((-3_600.0, 3_600.0, -86_400.0 * 3, 30.0, -30.0))
        world.meet("clock set", world.wall_offset)
        if self.choices.chance(50):
            world.loop.call_later(self.choices.magnitude(1, 10_000), self._put_right)

    def _put_right(self) -> None:
        self.world.wall_offset = 0.0
        self.world.meet("clock put right")

    def _arrived(self, post) -> None:
        if self.cap_nano is None:
            return
        due = sum(each.billed or (each.worst if each.open else 0) for each in self.service.posts)
        self.auditor.must(
            due <= self.cap_nano,
            "spent and reserved stay within the budget",
            f"{due} of {self.cap_nano} nano-USD at POST {post.number}",
        )

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        service, world = self.service, self.world
        service.faults, service.fault_percent, service.free_fault_percent = [], 0.0, 0.0
        service.storm, service.capped_until = (0.0, 0.0, ""), 0.0
        world.disk.full_until, world.disk.broken_percent = -1.0, 0.0
        self.cap_nano = None
        world.note("calm from now on")

    def client(self, **options) -> AsyncClient:
        """Make a client of this process."""
        return AsyncClient(
            "sk-nano-simulated",
            transport=self.service.transport(30.0),
            timeout_s=30.0,
            retry=self.policy,
            requests_per_second=self.limit,
            **options,
        )

    def weather(self, *, disk: bool = True) -> None:
        """Draw what the disk does in the next process's life."""
        choices, disk_ = self.choices, self.world.disk
        disk_.full_until, disk_.broken_percent = -1.0, 0.0
        if disk and choices.chance(15):
            if choices.below(2):
                disk_.broken_percent = choices.one_of((2, 10))
            else:
                begin = choices.magnitude(0.01, 20)
                self.world.loop.call_later(begin, self._fill, choices.magnitude(0.1, 100))

    def _fill(self, seconds: float) -> None:
        self.world.disk.full_until = self.world.loop.now + seconds

    def fuse(self, percent: float, *, power: float = 0.0) -> dict:
        """Draw whether and when a process dies."""
        choices = self.choices
        if not choices.chance(percent):
            return {}
        fuse = int(choices.magnitude(5, 1_500))
        return {"fuse": fuse, "power": choices.chance(power)}

    def idle(self) -> None:
        """Let the power fail, perhaps, while no process lives."""
        world = self.world
        if world.disk.is_volatile and self.choices.chance(25):
            world.meet("power cut", "while idle")
            world.disk.lose_power([])
            world.booted_at = world.loop.now

    async def join(self, processes: list[Process], *, seconds: float = 30 * 86_400.0) -> None:
        """Wait for the ends of *processes*."""
        for process in processes:
            outcome = await process.ended
            self.world.note(f"{process.name} ended", repr(outcome)[:200])
            if outcome != "killed":
                self.auditor.gone(process)
            if isinstance(outcome, BaseException) and not isinstance(outcome, NanoGPTError):
                import traceback

                told = "".join(traceback.format_exception(outcome)) if self.world.tracing else repr(outcome)
                self.world.violate("only errors of the package are raised", told)


class Calls(Story):
    """Single calls of one client, some at the same time, some cancelled, under a budget."""

    async def run(self) -> None:
        self.draw()
        choices, world = self.choices, self.world
        self.weather()
        if choices.chance(50):
            self.budget = choices.one_of((0.05, 0.1, 0.03, 1.0))
            self.cap_nano = round(self.budget * NANO)
        process = Process(world, "caller")
        process.start(self._main(1 + choices.below(8)), **self.fuse(10))
        await self.join([process])
        # What is billed late is billed by then.
        await asyncio.sleep(300)
        if self.limit is not None:
            self.auditor.pace(self.limit)

    async def _main(self, count: int) -> None:
        async with self.client(budget_usd=self.budget) as client:
            plans = [self._plan(number) for number in range(count)]
            await asyncio.gather(*(self._call(client, *plan) for plan in plans))

    def _plan(self, number: int) -> tuple:
        choices = self.choices
        way = choices.one_of(("generate", "generate_to", "generate_openai"))
        model = choices.one_of(("alpha", "quartet", "single"))
        n = 1 + choices.below(3) if model == "alpha" else None
        cancel = choices.magnitude(1e-3, 60) if choices.chance(20) else None
        begin = choices.between(0, 3)
        return number, way, model, n, begin, cancel

    async def _call(
        self, client, number: int, way: str, model: str, n: int | None, begin: float, cancel: float | None
    ) -> None:
        await asyncio.sleep(begin)
        prompt = f"call {number}"
        images = client.images
        if way == "generate":
            made = images.generate(prompt, model=model, n=n)
        elif way == "generate_to":
            made = images.generate_to(self.out, prompt, model=model, n=n)
        else:
            form = self.choices.one_of(("b64_json", "url"))
            made = images.generate_openai(prompt, model=model, n=n, response_format=form)
        error: BaseException | None = None
        result = None
        began = self.world.loop.now
        try:
            async with asyncio.timeout(cancel):
                result = await made
        except NanoGPTError as raised:
            error = raised
        except TimeoutError:
            self.world.meet("call cancelled")
            return
        self.world.note(prompt, repr(error)[:160] if error else "done")
        self.auditor.call(
            prompt,
            error,
            result,
            loose=self.is_loose,
            attempts=self.policy.max_attempts,
            seconds=self.world.loop.now - began,
        )


class Batches(Story):
    """A batch in one directory: processes live and die on it, one after the other and side by side."""

    async def run(self) -> None:
        self.draw()
        choices, world, auditor = self.choices, self.world, self.auditor
        world.disk.is_volatile = choices.chance(40)
        self.makeup = [self._prompt(number) for number in range(1 + choices.below(3))]
        self.allowed: Counter[str] = Counter()
        self.reuse = world.root / "paid.db" if choices.chance(15) else None
        self.same_ranges = True
        self.has_changed = False
        self.has_lost_power = False
        for life in range(1 + choices.below(3)):
            await self._life(life)
            self.idle()
            await asyncio.sleep(choices.one_of((0.01, 1.0, 60.0, 4_000.0, 90_000.0)))
            if choices.chance(10):
                self._change_catalogue()
        self.calm()
        await asyncio.sleep(400)
        await self._alone("last", self.rows(), fuse={}, calm=True)
        self._audit(calm=True)
        # Open fault: settling trusts the times of its books, and frees a charged request that a clock, wrong by days when
        # it was sent, has put on another day than the account.
        if choices.chance(30) and not world.met["clock set"]:
            # The account is asked once its sums are final, or too early.
            await asyncio.sleep(choices.one_of((2 * 86_400.0, 1.0)))
            await self._alone("settler", None, fuse={}, calm=True, settle=True)
            self._audit(calm=False)
        if choices.chance(40):
            self._allow_unknown()
            await self._alone("retry", None, fuse={}, calm=True, unknown=True)
            self._audit(calm=True)
        if self.limit is not None and not self.has_lost_power and world.met["clock set"] == 0:
            auditor.pace(self.limit, posts_only=True)

    def _prompt(self, number: int) -> dict:
        choices = self.choices
        model = choices.one_of(("alpha", "quartet", "single"))
        row = {"prompt": f"p{number}", "model": model, "count": choices.one_of((1, 2, 5, 3))}
        if choices.chance(20):
            row |= {"route": "openai", "response_format": "url"}
        return row

    def rows(self, *, changed: bool = False) -> list[dict]:
        """Make the manifest of a run; a *changed* one has other rows and counts."""
        choices = self.choices
        rows = [dict(row) for row in self.makeup]
        self.has_changed |= changed
        if changed:
            for row in rows:
                if choices.chance(30):
                    row["count"] = 1 + choices.below(6)
            if choices.chance(30):
                rows.append(dict(choices.one_of(rows)))
            if choices.chance(30) and len(rows) > 1:
                rows.pop(choices.below(len(rows)))
            if choices.chance(30):
                rows.reverse()
        wanted: Counter[str] = Counter()
        for row in rows:
            model = self.service.models.get(row["model"])
            fixed = model.fixed if model and model.fixed else 1
            wanted[row["prompt"]] += -(-row["count"] // fixed) * fixed
        for prompt, count in wanted.items():
            self.allowed[prompt] = max(self.allowed[prompt], count + self.asked_again[prompt])
            self.most_wanted[prompt] = max(self.most_wanted[prompt], count)
        return rows

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked_again: Counter[str] = Counter()
        self.most_wanted: Counter[str] = Counter()

    def _allow_unknown(self) -> None:
        """Somebody asks for what is unknown, or was charged in vain, to be paid for again."""
        for prompt, book in self.auditor.journal(self.out).items():
            lost = book["states"]["unknown"] + book["charges"]["charged"]
            self.asked_again[prompt] += lost * 4
            self.allowed[prompt] += lost * 4

    def _change_catalogue(self) -> None:
        choices, models = self.choices, self.service.models
        what = choices.below(3)
        if what == 0:
            models["alpha"].price = choices.one_of((20_000_000, 5_000_000))
        elif what == 1:
            models["alpha"].n_max = choices.one_of((2, 1))
            self.same_ranges = False
        elif "single" in models:
            models["single-2"] = Model("single-2", models.pop("single").price, n_max=1)
        self.world.meet("catalogue changed", what)

    async def _life(self, life: int) -> None:
        choices, world = self.choices, self.world
        self.weather()
        rows = self.rows(changed=choices.chance(25))
        self.budget = (
            choices.one_of((None, None, 0.05, 0.15, 0.01)) if not self.service.free_fault_percent else None
        )
        self.cap_nano = None if self.budget is None else round(self.budget * NANO)
        if choices.chance(25):
            await self._together(life, rows)
            return
        retries = choices.chance(10) and (self.out / "journal.db").exists()
        await self._alone(
            f"life {life}",
            None if retries else rows,
            fuse=self.fuse(60, power=50 if world.disk.is_volatile else 0),
        )
        self._audit(calm=False)

    async def _together(self, life: int, rows: list[dict]) -> None:
        self.world.meet("joined processes")
        processes = []
        for number in range(2):
            process = Process(self.world, f"peer {life}{'ab'[number]}")
            main = self._main(process, rows, join=True, start_s=self.choices.between(0, 2))
            process.start(main, **self.fuse(40))
            processes.append(process)
        await self.join(processes)
        self._audit(calm=False, joined=2)

    async def _alone(
        self, name: str, rows: list[dict] | None, *, fuse: dict, calm: bool = False, **options
    ) -> None:
        process = Process(self.world, name)
        self.power = fuse.get("power", False)
        if calm:
            self.budget = None
        cancel_s = None if calm or not self.choices.chance(15) else self.choices.magnitude(1e-2, 60)
        process.start(self._main(process, rows, calm=calm, **options), **fuse)
        if cancel_s is not None:
            self.world.loop.call_later(cancel_s, process.cancel)
        await self.join([process])
        self.has_lost_power |= bool(self.world.met["power cut"])  # the pace of before is forgotten
        if calm:
            outcome = process.ended.result()
            self.auditor.must(outcome is None, "a calm run ends well", repr(outcome))

    async def _main(
        self,
        process: Process,
        rows: list[dict] | None,
        *,
        join: bool = False,
        calm: bool = False,
        start_s: float = 0.0,
        unknown: bool = False,
        settle: bool = False,
    ) -> None:
        choices = self.choices
        if start_s:
            await asyncio.sleep(start_s)
        async with self.client() as client:
            if settle:
                await client.account.settle(self.out, exclusive=bool(choices.below(2)))
                return
            concurrency = 1 + choices.below(6)
            process.concurrency = concurrency
            leave = 1 + choices.below(4) if not calm and choices.chance(15) else None
            if rows is None:
                run = client.retry_batch(
                    self.out, unknown=unknown, concurrency=concurrency, budget_usd=self.budget
                )
            else:
                run = client.batch(
                    rows,
                    out=self.out,
                    concurrency=concurrency,
                    budget_usd=self.budget,
                    join=join,
                    reuse=self.reuse,
                )
            seen = 0
            async with run:
                async for event in run:
                    seen += 1
                    self.world.note(
                        f"event {event.key}",
                        event.state.value,
                        (event.error and repr(event.error)[:160]) or "",
                    )
                    if seen == leave:
                        self.world.meet("left early")
                        break
            report = run.report
            if self.is_priced and not join:
                self.auditor.report(process, report)
            self.world.note("report", report.to_json() if self.world.tracing else "")

    def _audit(self, *, calm: bool, joined: int = 1) -> None:
        auditor, out = self.auditor, self.out
        if not (out / "journal.db").exists():
            if not self.has_lost_power and self.world.met["power cut"] == 0:
                auditor.must(not self.service.billed(), "nothing is charged without a journal")
            return
        auditor.read(out)
        auditor.attempts(out)
        auditor.answered(out)
        if self.is_priced:
            auditor.books(out, at_rest=calm)
        if not self.is_loose:
            auditor.bought(self.allowed, by_request=not self.is_priced)
        if not self.world.met["power cut"] or calm:
            auditor.files(out)
        auditor.in_flight(out, 6 * joined)
        if calm:
            auditor.listed(out)
            # What a retry sends again keeps its n, and names its model.
            same = "single" in self.service.models and self.same_ranges and self.is_priced
            auditor.ended(out, same=same, changed=self.has_changed)
            auditor.sums(out)


class Keys(Story):
    """Calls with keys, by processes that share a ledger; each key is paid for once."""

    async def run(self) -> None:
        self.draw()
        choices, world, auditor = self.choices, self.world, self.auditor
        world.disk.is_volatile = choices.chance(40)
        self.ledger = world.root / "paid.db"
        self.keys = 1 + choices.below(3)
        self.forgotten: Counter[str] = Counter()
        self.is_undisturbed = True
        for round_ in range(1 + choices.below(2)):
            self.weather()
            processes = []
            for number in range(1 + choices.below(3)):
                process = Process(world, f"user {round_}{'abc'[number]}")
                power = 50 if world.disk.is_volatile else 0
                process.start(self._main(1 + choices.below(4), calm=False), **self.fuse(30, power=power))
                processes.append(process)
            await self.join(processes)
            self._audit()
            self.idle()
            await asyncio.sleep(choices.one_of((0.01, 60.0, 4_000.0)))
        self.calm()
        await asyncio.sleep(400)
        process = Process(world, "last")
        process.start(self._main(self.keys, calm=True))
        await self.join([process])
        outcome = process.ended.result()
        auditor.must(outcome is None, "a calm user ends well", repr(outcome))
        self._audit()

    @property
    def is_whole(self) -> bool:
        """Whether no process died, and no disk failed."""
        met = self.world.met
        return not (met["kill"] or met["power cut"] or met["disk error"] or met["disk full"])

    def _audit(self) -> None:
        if self.is_loose:
            return
        for prompt, posts in self.auditor.posts_by_prompt().items():
            billed = [post.number for post in posts if post.billed or post.open]
            self.auditor.must(
                len(billed) <= 1 + self.forgotten[prompt],
                "a key is paid for once",
                f"{prompt!r}: POSTs {billed}",
            )

    async def _main(self, count: int, *, calm: bool) -> None:
        async with self.client(ledger=self.ledger) as client:
            plans = [self._plan(number if calm else None, calm=calm) for number in range(count)]
            await asyncio.gather(*(self._call(client, *plan, calm=calm) for plan in plans))
            if calm:
                check = await client.ledger.verify()
                self.auditor.must(check.is_sound, "every stored image is as it was paid for", check.changed)

    def _plan(self, number: int | None, *, calm: bool) -> tuple:
        choices = self.choices
        key = choices.below(self.keys) if number is None else number
        way = choices.one_of(("generate", "generate_to", "generate_openai"))
        cancel = choices.magnitude(1e-3, 60) if not calm and choices.chance(20) else None
        return key, way, choices.between(0, 3), cancel

    async def _call(
        self, client, number: int, way: str, begin: float, cancel: float | None, *, calm: bool
    ) -> None:
        await asyncio.sleep(begin)
        # The route is part of what a key stands for.
        prompt, key = f"key {number}", f"k{number}"
        model = ("alpha", "quartet", "single")[number % 3]
        if number % 2:
            made = client.images.generate_openai(prompt, model=model, response_format="url", key=key)
        elif way == "generate_to":
            made = client.images.generate_to(self.world.root / "files", prompt, model=model, key=key)
        else:
            made = client.images.generate(prompt, model=model, key=key)
        error: BaseException | None = None
        result = None
        try:
            async with asyncio.timeout(cancel):
                result = await made
        except NanoGPTError as raised:
            error = raised
        except TimeoutError:
            self.world.meet("call cancelled")
            self.is_undisturbed = False
            return
        self.world.note(f"{prompt} ({way})", repr(error)[:200] if error else "done")
        posts = [post for post in self.service.posts if post.prompt == prompt]
        billed = [post for post in posts if post.billed or post.open]
        if error is None:
            self.auditor.must(billed, "a result was paid for", prompt)
            for image in result.images:
                data = (
                    image.data
                    if image.data is not None
                    else Path(image.path).read_bytes()
                    if image.path
                    else None
                )
                if data is not None:
                    owner = self.service.owner_of.get(data)
                    self.auditor.must(
                        owner is not None and owner.prompt == prompt, "an image is of its key", prompt
                    )
            return
        charge = error.charge.value
        if self.is_undisturbed and self.is_whole and posts and all(post.taken for post in posts):
            self.auditor.must(
                charge != "unknown", "a key that was answered is not unknown", lambda: f"{prompt}: {error!r}"
            )
        if self.is_whole and all(post.told_free for post in posts):
            self.auditor.must(
                charge != "unknown",
                "a key whose attempts were all refused is not unknown",
                lambda: f"{prompt}: {error!r}",
            )
        if calm and not billed:
            self.auditor.must(
                charge == "unknown",
                "a calm user gets the images of a key that was never charged",
                lambda: f"{prompt}: {error!r}",
            )
