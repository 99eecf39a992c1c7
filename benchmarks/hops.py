"""
Count what one request passes through: the package's modules it enters, and its calls from one module into another.

The numbers say how far a reader has to jump, not how long the machine takes. Everything
is warmed up once before it is counted. `generate` is one call; `row` is a further row of a batch with
a journal: a batch of 20 rows, less one of 10, divided by ten. The sandbox runs in the same process and is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

import nanogpt_images as ngi
from nanogpt_images.sandbox import BlockingSandbox, Sandbox


class Hops:
    """Modules entered, and calls between two of them, in all threads of this process."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.calls: Counter[tuple[str, str]] = Counter()

    async def of(self, work: Callable[[], Awaitable[object]]) -> Hops:
        """Run *work* under the profiler; return self."""
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)
        try:
            await work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return self

    def _seen(self, frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not _is_counted(module):
            return
        self.modules.add(module)
        caller = frame.f_back
        above = caller.f_globals.get("__name__", "") if caller else ""
        if _is_counted(above) and above != module:
            self.calls[above, module] += 1


def _is_counted(module: str) -> bool:
    return module.startswith("nanogpt_images.") and not module.startswith("nanogpt_images.sandbox")


async def measured(sandbox: BlockingSandbox, scratch: Path) -> dict[str, float]:
    """Return the four numbers, measured against *sandbox*."""
    async with ngi.AsyncClient(sandbox.api_key, base_url=sandbox.url, requests_per_second=None) as client:

        async def one() -> object:
            return await client.images.generate("a red fox", model="gpt-image-2")

        async def batch(rows: int, name: str) -> object:
            manifest = [{"prompt": f"{name} {number}", "model": "gpt-image-2"} for number in range(rows)]
            return await client.run_batch(manifest, out=scratch / name, concurrency=1)

        await one()
        generate = await Hops().of(one)
        await batch(3, "warm")
        short = await Hops().of(lambda: batch(10, "short"))
        long = await Hops().of(lambda: batch(20, "long"))
    further = long.calls - short.calls
    return {
        "generate: modules": len(generate.modules),
        "generate: hops": generate.calls.total(),
        "row: modules": len({module for pair in further for module in pair}),
        "row: hops": round(further.total() / 10, 1),
    }


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as scratch, BlockingSandbox(Sandbox()) as sandbox:
        numbers = asyncio.run(measured(sandbox, Path(scratch)))
    if as_json:
        print(json.dumps(numbers))
    else:
        for name, number in numbers.items():
            print(f"{number:>6}  {name}")


if __name__ == "__main__":
    main()
