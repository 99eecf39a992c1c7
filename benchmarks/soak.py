"""
Claim: days of mixed work leak nothing, and every image that was billed is delivered or reported.

    python benchmarks/soak.py [--minutes 20] [--rate 25] [--seed 0] [--json]

One process works against a sandbox in another one, which breaks a tenth of all generations: `generate`, `generate_to`,
`generate_openai` with bytes and with URLs, batches with a directory, a blocking client in a thread, clients that are
made for one call, refreshes of the catalogue, and calls and batches that are cancelled. After each round of work
everything has ended, and memory, descriptors, sockets, tasks and threads are counted.

Exits with 1 unless, leaving the first quarter of the rounds out as warm-up,
- the median of the last half is above that of the first half by at most 5 MiB of resident memory, 2,000 blocks
  of Python's allocator (one in a hundred), 4 descriptors, 4 sockets, 0 tasks and 2 threads;
- for each prompt, images delivered + reported as charged <= billed <= these + reported as unknown, and none is billed
  twice;
- no half-written file is left, and the work went through every kind.

Needs Linux, for `/proc`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import attrs

import nanogpt_images as ngi
from nanogpt_images.batch.journal import Journal

MODEL = "tiny-and-fast"
LATENCY = "0.02-0.3"
# A hundredth each; the first one that strikes wins.
FAULTS = (
    "reset_before_body",
    "reset_after_body",
    "close_in_response_body",
    "429",
    "500_billed",
    "500_not_billed",
    "503",
    "truncated_json",
    "garbage_base64",
    "zero_images",
    "html_200",
)
# How many idle connections a round leaves differs by a few; a leak of one a round makes six.
LIMITS = {
    "memory_mib": 5,
    "allocated_blocks": 2_000,
    "descriptors": 4,
    "sockets": 4,
    "tasks": 0,
    "threads": 2,
}


class JobResources:
    """What the client reported, a line for each call; on disk, so that the soak's own memory is flat."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+")
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def prompt(self) -> str:
        """A prompt that no other call has."""
        with self._lock:
            return f"soak {next(self._numbers)}"

    def enter(
        self, kind: str, prompt: str, *, delivered: int = 0, charged: int = 0, unknown: int = 0, outcome: str
    ) -> None:
        """Write down what became of the images of one call."""
        with self._lock:
            self.calls[kind] += 1
            self.outcomes[outcome] += 1
            self._file.write(json.dumps([prompt, delivered, charged, unknown]) + "\n")

    def failed(self, kind: str, prompt: str, error: ngi.NanoGPTError, asked: int = 1) -> None:
        """Write down a failed call by the charge that it states."""
        partial = getattr(error, "partial", None)
        kept = len(partial.images) if partial is not None and not isinstance(error, ngi.DownloadError) else 0
        lost = max(0, asked - kept)
        self.enter(
            kind,
            prompt,
            delivered=kept,
            charged=lost if error.charge is ngi.Charge.CHARGED else 0,
            unknown=lost if error.charge is ngi.Charge.UNKNOWN else 0,
            outcome=f"{type(error).__name__} {error.charge.value}",
        )

    def lines(self) -> Iterator[tuple[str, int, int, int]]:
        """What was entered, prompt by prompt."""
        self._file.seek(0)
        for line in self._file:
            yield tuple(json.loads(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@attrs.frozen(kw_only=True)
class Setting:
    """What the kinds of work share."""

    url: str
    key: str
    rate: float
    client: ngi.AsyncClient
    blocking: ngi.Client
    books: JobResources
    chance: random.Random
    folder: Path

    def options(self) -> dict[str, float]:
        """Options of a client; those that are made anew are slow enough by themselves."""
        return {"requests_per_second": self.rate, "timeout_s": 30}


async def generate(at: Setting) -> None:
    prompt, n = at.books.prompt(), at.chance.randint(1, 3)
    try:
        result = await at.client.images.generate(prompt, model="batchy/ten", n=n)
    except ngi.NanoGPTError as error:
        at.books.failed("generate", prompt, error, n)
    else:
        delivered = sum(bool(image.data) for image in result.images)
        at.books.enter("generate", prompt, delivered=delivered, outcome="images")


async def generate_to(at: Setting, kind: str = "generate_to") -> None:
    prompt = at.books.prompt()
    try:
        result = await at.client.images.generate_to(at.folder / "files", prompt, model=MODEL)
    except ngi.NanoGPTError as error:
        at.books.failed(kind, prompt, error)
    except asyncio.CancelledError:
        at.books.enter(kind, prompt, unknown=1, outcome="cancelled")
        raise
    else:
        at.books.enter(kind, prompt, delivered=_taken(result), outcome="images")


def _taken(result: ngi.GenerationResult) -> int:
    """The files of *result*, each looked at and removed."""
    taken = 0
    for image in result.images:
        if image.path is not None and image.path.stat().st_size == image.size_bytes:
            image.path.unlink()
            taken += 1
    return taken


async def openai_bytes(at: Setting) -> None:
    prompt = at.books.prompt()
    try:
        result = await at.client.images.generate_openai(prompt, model=MODEL)
    except ngi.NanoGPTError as error:
        at.books.failed("openai bytes", prompt, error)
    else:
        at.books.enter("openai bytes", prompt, delivered=len(result.images), outcome="images")


async def openai_url(at: Setting) -> None:
    prompt = at.books.prompt()
    try:
        result = await at.client.images.generate_openai(prompt, model=MODEL, response_format="url")
        await result.images[0].read()
    except ngi.NanoGPTError as error:
        at.books.failed("openai url", prompt, error)
    else:
        at.books.enter("openai url", prompt, delivered=1, outcome="images")


def _rows(at: Setting) -> dict[str, ngi.BatchRow]:
    rows = {}
    for number in range(24):
        route = {"route": "openai", "response_format": "url"} if number % 3 == 0 else {}
        prompt = at.books.prompt()
        rows[prompt] = ngi.BatchRow.of({"prompt": prompt, "model": MODEL, **route})
    return rows


async def batch(at: Setting) -> None:
    """A batch to its end, one that is left early, or one that is cancelled; resumed where rows are left."""
    rows, out = _rows(at), Path(tempfile.mkdtemp(dir=at.folder))
    ending = at.chance.choice(("end", "break", "cancel"))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2 if ending == "cancel" else None):
            async with at.client.batch(list(rows.values()), out=out, concurrency=6) as run:
                async for _ in run:
                    if ending == "break":
                        break
    if ending != "end":
        await at.client.run_batch(list(rows.values()), out=out, concurrency=6)
    await _enter_batch(at.books, rows, out, "batch")
    shutil.rmtree(out)


async def _enter_batch(books: JobResources, rows: dict[str, ngi.BatchRow], out: Path, kind: str) -> None:
    left = set(rows)
    async with await Journal.open(out, service=None, read_only=True) as journal:
        unknown = [ending async for ending in journal.unknowns()]
        failed = [ending async for ending in journal.failures()]
    for ending in unknown + failed:
        prompt = ending.unit.row.prompt
        left.discard(prompt)
        books.enter(
            kind,
            prompt,
            charged=ending.charge is ngi.Charge.CHARGED,
            unknown=ending.charge is ngi.Charge.UNKNOWN,
            outcome=f"{ending.error_type} {ending.charge.value if ending.charge else ''}",
        )
    results = out / "results.jsonl"
    for line in results.read_text().splitlines() if results.exists() else ():
        record = json.loads(line)
        left.discard(record["prompt"])
        whole = (out / record["file"]).stat().st_size == record["bytes"]
        books.enter(kind, record["prompt"], delivered=whole, outcome="images")
    for prompt in left:
        books.enter(kind, prompt, outcome="pending")


async def cancelled(at: Setting) -> None:
    task = asyncio.create_task(generate_to(at, "cancelled"))
    await asyncio.sleep(at.chance.uniform(0, 0.25))
    task.cancel()
    await asyncio.wait([task])


async def catalogue(at: Setting) -> None:
    with contextlib.suppress(ngi.NanoGPTError):
        await at.client.catalog.list(refresh=True)
        await at.client.catalog.endpoints("gpt-image-2", refresh=True)
    at.books.calls["catalogue"] += 1
    await asyncio.sleep(1)


async def client_for_one_call(at: Setting) -> None:
    prompt = at.books.prompt()
    async with ngi.AsyncClient(at.key, at.url, **at.options()) as client:
        try:
            result = await client.images.generate(prompt, model=MODEL)
        except ngi.NanoGPTError as error:
            at.books.failed("new client", prompt, error)
        else:
            at.books.enter("new client", prompt, delivered=len(result.images), outcome="images")
    await asyncio.sleep(0.5)


def _blocking(at: Setting, client: ngi.Client, kind: str) -> None:
    prompt = at.books.prompt()
    try:
        result = client.images.generate(prompt, model=MODEL)
    except ngi.NanoGPTError as error:
        at.books.failed(kind, prompt, error)
    else:
        at.books.enter(kind, prompt, delivered=len(result.images), outcome="images")


async def blocking(at: Setting) -> None:
    await asyncio.to_thread(_blocking, at, at.blocking, "blocking")


async def blocking_client_for_one_call(at: Setting) -> None:
    def once() -> None:
        with ngi.Client(at.key, at.url, **at.options()) as client:
            _blocking(at, client, "new blocking client")

    await asyncio.to_thread(once)
    await asyncio.sleep(0.5)


WORK: dict[str, Callable[[Setting], Awaitable[None]]] = {
    "generate": generate,
    "generate_to": generate_to,
    "openai bytes": openai_bytes,
    "openai url": openai_url,
    "batch": batch,
    "cancelled": cancelled,
    "catalogue": catalogue,
    "new client": client_for_one_call,
    "blocking": blocking,
    "new blocking client": blocking_client_for_one_call,
}


def sample() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2),
        "allocated_blocks": sys.getallocatedblocks(),
        "descriptors": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }


async def work_for(seconds: float, at: Setting) -> None:
    """One round: each kind of work again and again, and all of it ended."""
    until = time.monotonic() + seconds

    async def repeat(work: Callable[[Setting], Awaitable[None]]) -> None:
        while time.monotonic() < until:
            await work(at)

    async with asyncio.TaskGroup() as group:
        for work in WORK.values():
            group.create_task(repeat(work))


async def soak(options: argparse.Namespace, url: str, key: str, folder: Path) -> dict[str, object]:
    """All rounds, and the judgement."""
    rounds = 16
    books = JobResources(folder / "books.jsonl")
    shared = {"requests_per_second": options.rate, "timeout_s": 30}
    samples: list[dict[str, float]] = []
    try:
        async with ngi.AsyncClient(key, url, **shared) as client:
            with ngi.Client(key, url, **shared) as blocking_client:
                at = Setting(
                    url=url,
                    key=key,
                    rate=options.rate,
                    client=client,
                    blocking=blocking_client,
                    books=books,
                    chance=random.Random(options.seed),
                    folder=folder,
                )
                for number in range(rounds):
                    await work_for(options.minutes * 60 / rounds, at)
                    samples.append(sample())
                    print(f"round {number + 1}/{rounds}: {samples[-1]}", file=sys.stderr)
        money = await audit(books, url)
    finally:
        books.close()
    leftovers = await asyncio.to_thread(lambda: list(folder.rglob(".*.part")))
    growth = grown(samples)
    broken = [f"{name} grew by {growth[name]['by']:g}" for name in LIMITS if not growth[name]["ok"]]
    broken += [f"no {kind} in the whole run" for kind in WORK if not books.calls[kind]]
    broken += [f"{len(leftovers)} half-written files"] if leftovers else []
    broken += [f"{money['wrong']} prompts do not add up"] if money["wrong"] else []
    broken += [f"{money['billed_twice']} prompts were billed twice"] if money["billed_twice"] else []
    return {
        "minutes": options.minutes,
        "calls": dict(books.calls),
        "outcomes": dict(sorted(books.outcomes.items())),
        "money": money,
        "growth": growth,
        "samples": samples,
        "broken": broken,
    }


def grown(samples: list[dict[str, float]]) -> dict[str, dict[str, float | bool]]:
    """Medians of the first and the last half after the warm-up, and whether the difference is allowed."""
    steady = samples[len(samples) // 4 :]
    half = len(steady) // 2
    found: dict[str, dict[str, float | bool]] = {}
    for name, limit in LIMITS.items():
        first = statistics.median(entry[name] for entry in steady[:half])
        last = statistics.median(entry[name] for entry in steady[half:])
        by = round(last - first, 2)
        found[name] = {"first": first, "last": last, "by": by, "ok": by <= limit}
    return found


async def audit(books: JobResources, url: str) -> dict[str, object]:
    """The client's books beside the ledger of the service."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_sandbox/ledger") as answer:
        entries = (await answer.json())["entries"]
    billed: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for entry in entries:
        if entry["billed"]:
            billed[entry["prompt"]] += entry["images"]
            times[entry["prompt"]] += 1
    delivered: Counter[str] = Counter()
    charged: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for prompt, *numbers in books.lines():
        for total, number in zip((delivered, charged, unknown), numbers, strict=True):
            total[prompt] += number
    wrong = [
        prompt
        for prompt in billed | delivered | charged | unknown
        if not 0 <= billed[prompt] - delivered[prompt] - charged[prompt] <= unknown[prompt]
    ]
    for prompt in wrong[:10]:
        numbers = (billed[prompt], delivered[prompt], charged[prompt], unknown[prompt])
        print(f"{prompt}: billed, delivered, charged, unknown = {numbers}", file=sys.stderr)
    return {
        "billed": billed.total(),
        "delivered": delivered.total(),
        "charged": charged.total(),
        "unknown_and_billed": (billed - delivered - charged).total(),
        "unknown": unknown.total(),
        "billed_twice": sum(count > 1 for count in times.values()),
        "faults": sum(entry["fault"] is not None for entry in entries),
        "generations": len(entries),
        "wrong": len(wrong),
    }


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[tuple[str, str]]:
    """A sandbox in a process of its own: URL and key."""
    faults = [{"kind": kind, "rate": 0.01} for kind in FAULTS]
    faults += [
        {"kind": "url_cut", "rate": 0.1},
        {"kind": "stall_in_body", "rate": 0.01, "after_s": 0.5},
        {"kind": "reset_after_body", "rate": 0.1, "route": "catalog"},
    ]
    rules = folder / "faults.json"
    rules.write_text(json.dumps(faults))
    command = [sys.executable, "-m", "nanogpt_images", "sandbox", "--json", "--faults", str(rules)]
    process = subprocess.Popen(
        [*command, "--latency", LATENCY, "--requests-per-second", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        yield said["base_url"], said["api_key"]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def table(found: dict[str, object]) -> str:
    """The findings as Markdown."""
    lines = ["| at rest | first half | last half | growth | |", "|---|---|---|---|---|"]
    for name, entry in found["growth"].items():  # type: ignore[attr-defined]
        verdict = "flat" if entry["ok"] else "GROWS"
        lines.append(f"| {name} | {entry['first']:g} | {entry['last']:g} | {entry['by']:+g} | {verdict} |")
    lines += ["", "| images | |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {number} |" for name, number in found["money"].items()]  # type: ignore[attr-defined]
    lines += ["", "| calls | |", "|---|---|"]
    lines += [f"| {name} | {number} |" for name, number in found["calls"].items()]  # type: ignore[attr-defined]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=25, help="starts per second of each client")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    # A run that is ended takes its sandbox along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with sandbox(folder) as (url, key):
            found = asyncio.run(soak(options, url, key, folder))
    print(json.dumps(found, indent=1) if options.json else table(found))
    broken = found["broken"]
    assert isinstance(broken, list)
    for line in broken:
        print(f"FAILED: {line}", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
