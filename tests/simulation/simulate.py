"""
Run seeds of the simulation, and print the first that breaks a rule: its shortest schedule, and a trace.

    .venv/bin/python tests/simulation/simulate.py --seeds 3000          seeds 0 to 2999
    .venv/bin/python tests/simulation/simulate.py --seed 17 --trace     one seed, told
    .venv/bin/python tests/simulation/simulate.py --seeds 1000000 --into counts.json     goes on where it was stopped
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import time as clock
import traceback
from collections import Counter
from pathlib import Path

if os.environ.get("PYTHONHASHSEED") != "0":
    # Sets of texts are iterated in the order of their hashes.
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.argv])

sys.path.insert(0, str(Path(__file__).parent))

import seams

_now = clock.monotonic
seams.install()

from users import Batches, Calls, Keys, Story  # noqa: E402
from world import Violation, World, quiet  # noqa: E402

from nanogpt_images._base import owner  # noqa: E402

PART = 100
MOST_SHRINKING = 600
_kept: list[object] = []


def story_of(world: World) -> Story:
    """Draw what the seed is about."""
    return world.choices.one_of((Batches, Calls, Keys, Batches))(world)


def run(
    seed: int, folder: Path, *, given: list[int] | None = None, tracing: bool = False
) -> tuple[World, str | None]:
    """Run one seed; return its world, and the rule that it broke."""
    root = folder / "w"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    world = World(seed, root, given=given, tracing=tracing)
    _kept.append(world)  # what a dead process had in hand must not be collected: it would clean up
    seams.world = world
    owner._NUMBERS = itertools.count()
    asyncio.events._set_running_loop(world.loop)
    broken = None
    try:
        story = story_of(world)
        world.note(f"seed {seed}: {type(story).__name__}")
        main = world.loop.create_task(story.run())
        world.loop.drive(main)
        world.note("end")
        main.result()
    except Violation as violation:
        broken = str(violation)
    except Exception as error:
        broken = "".join(traceback.format_exception(error)) if tracing else f"{type(error).__name__}: {error}"
    finally:
        world.disk.release(world.processes)
        asyncio.events._set_running_loop(None)
        seams.world = None
    return world, broken


def rule_of(broken: str) -> str:
    """What kind of violation it is, so that shrinking keeps to it."""
    return broken.partition(":")[0]


def in_child(function, *args):
    """Call *function* in a forked process, whose leftovers end with it, and return its JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as file:
                json.dump(function(*args), file)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("a part ended without an answer")
    return json.loads(text)


def part(first: int, count: int, folder: str) -> dict:
    """Run some seeds until one breaks a rule."""
    gc.disable()
    quiet()
    met: Counter[str] = Counter()
    broken, steps, choices = None, 0, 0
    done = 0
    for seed in range(first, first + count):
        world, rule = run(seed, Path(folder))
        done += 1
        steps += world.loop.steps
        choices += len(world.choices.made)
        met.update(world.met)
        if rule is not None:
            broken = [seed, rule]
            break
    return {"seeds": done, "steps": steps, "choices": choices, "met": met, "broken": broken}


def shrink(seed: int, folder: str, rule: str) -> dict:
    """Find fewer choices that break the same rule; the rest is tame."""
    gc.disable()
    quiet()
    world, broken = run(seed, Path(folder))
    best = list(world.choices.made)
    tries = 0

    def breaks(given: list[int]) -> bool:
        nonlocal tries
        tries += 1
        _, found = run(seed, Path(folder), given=given)
        return found is not None and rule_of(found) == rule_of(rule)

    def trimmed(given: list[int]) -> list[int]:
        while given and given[-1] == 0:
            given = given[:-1]
        return given

    size = len(best)
    while size >= 1 and tries < MOST_SHRINKING:
        place = 0
        while place < len(best) and tries < MOST_SHRINKING:
            block = best[place : place + size]
            if any(block):
                tame = best[:place] + [0] * len(block) + best[place + size :]
                if breaks(tame):
                    best = tame
            place += size
        best = trimmed(best)
        size //= 2
    world, broken = run(seed, Path(folder), given=best, tracing=True)
    return {"choices": best, "tries": tries, "trace": world.trace, "broken": broken or rule}


def told(seed: int, folder: str, given: list[int] | None, before: int) -> dict:
    """Run one seed and tell it, after so many others *before* it in the same process."""
    gc.disable()
    quiet()
    for other in range(seed - before, seed):
        run(other, Path(folder))
    world, broken = run(seed, Path(folder), given=given, tracing=True)
    return {"trace": world.trace, "broken": broken}


def main() -> int:
    """Run what is asked for; return 1 where a rule is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone, and tell it")
    parser.add_argument("--choices", help="with --seed: a shrunk schedule, as it was printed")
    parser.add_argument("--before", type=int, default=0, help="with --seed: run so many others before it")
    parser.add_argument("--trace", action="store_true", help="with --seed: print its trace")
    parser.add_argument("--keep-going", action="store_true", help="go on after a seed that breaks a rule")
    parser.add_argument("--no-shrink", action="store_true", help="print the seed and the rule alone")
    parser.add_argument("--into", type=Path, help="keep the counts in this file, and go on from what it has")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="simulation-", dir=base)
    try:
        if options.seed is not None:
            given = json.loads(options.choices) if options.choices else None
            found = in_child(told, options.seed, folder, given, options.before)
            if options.trace or found["broken"]:
                print("\n".join(found["trace"]))
            print(found["broken"] or f"seed {options.seed} holds")
            return 1 if found["broken"] else 0
        return _run_all(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_all(options, folder: str) -> int:
    began = _now()
    counts = {"next": options.first, "seeds": 0, "steps": 0, "choices": 0, "met": {}, "broken": []}
    if options.into is not None and options.into.exists():
        counts = json.loads(options.into.read_text("utf-8"))
    met, before = Counter(counts["met"]), counts["seeds"]
    end = options.first + options.seeds
    while counts["next"] < end:
        found = in_child(part, counts["next"], min(PART, end - counts["next"]), folder)
        for name in ("seeds", "steps", "choices"):
            counts[name] += found[name]
        met.update(found["met"])
        counts["next"] += found["seeds"]
        counts["met"] = dict(sorted(met.items()))
        if found["broken"]:
            counts["broken"].append(found["broken"])
            print(f"seed {found['broken'][0]}: {found['broken'][1]}", flush=True)
        if options.into is not None:
            options.into.write_text(json.dumps(counts), "utf-8")
        if found["broken"] and not options.keep_going:
            break
    broken = counts["broken"]
    if options.json:
        print(json.dumps(counts))
    else:
        seconds, used = _now() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        each = 1000 * (used.ru_utime + used.ru_stime) / max(1, counts["seeds"] - before)
        print(
            f"{counts['seeds']:,} seeds, {counts['steps']:,} steps, {counts['choices']:,} choices; {seconds:.0f} s,"
            f" {each:.1f} ms of processor time for each seed"
        )
        print(", ".join(f"{name}: {count:,}" for name, count in counts["met"].items()))
        print(f"{len(broken)} broken")
    if broken and not options.no_shrink and not options.keep_going:
        seed, rule = broken[0]
        found = in_child(shrink, seed, folder, rule)
        print("\n".join(found["trace"]))
        print(f"seed {seed}: {found['broken']}")
        print(
            f"{sum(map(bool, found['choices']))} choices that are not tame, after {found['tries']} tries; replay with"
        )
        print(
            f"    simulate.py --seed {seed} --choices '{json.dumps(found['choices'], separators=(',', ':'))}'"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
