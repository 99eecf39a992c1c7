"""
Memory of an edit with a large input image, against the same image as a data URL, as a ratio.

Each way runs in a process of its own and sends to a sandbox in another one; what counts is how far its memory grows
beyond what it has before the image is touched.

    python benchmarks/edit_memory.py [MEGABYTES]
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox

WAYS = ("streamed", "data URL")


def peak_mb() -> float:
    """The greatest resident size of this process since `forget_peak`; Linux only."""
    lines = dict(
        line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    return int(lines["VmHWM"].split()[0]) / 1024


def forget_peak() -> None:
    """Let the peak be what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


async def grown(way: str, path: Path, url: str, key: str) -> float:
    """Megabytes by which the process grows in an edit of *path*."""
    async with ngi.AsyncClient(key, url) as client:
        small = io.BytesIO()
        Image.new("RGB", (8, 8)).save(small, "PNG")
        await client.images.edit("a hat", image=small.getvalue(), model="restyle")  # loads all modules
        forget_peak()
        before = peak_mb()
        image: str | Path = path
        if way == "data URL":
            image = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"  # noqa: ASYNC240
        await client.images.edit("a hat", image=image, model="restyle", size="1024x1024")
        return peak_mb() - before


def measured(way: str, path: Path, url: str, key: str) -> float:
    """`grown`, in a new process."""
    command = [sys.executable, __file__, "--one", way, str(path), url, key]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main(size_mb: int) -> None:
    """Print what each way takes, and the ratio."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "in.png"
        side = int((size_mb * 1_000_000 / 3) ** 0.5)
        Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path, compress_level=0)
        with Sandbox.in_thread(requests_per_second=None) as sandbox:
            taken = {way: measured(way, path, sandbox.url, sandbox.api_key) for way in WAYS}
        for way, megabytes_taken in taken.items():
            print(f"{way:>10}: {megabytes_taken:7.1f} MB for an input of {path.stat().st_size / 1e6:.1f} MB")
        print(f"     ratio: {taken['data URL'] / max(taken['streamed'], 0.1):.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        way, path, url, key = sys.argv[2:]
        print(asyncio.run(grown(way, Path(path), url, key)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
