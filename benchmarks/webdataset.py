"""
Claim: a WebDataset export needs the same memory whatever the number of images.

    python benchmarks/webdataset.py [--json] [--images 200000]

Writes small images into one shard, in a process of its own for each number, and looks at the peak of resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from nanogpt_images.batch.journal import ResultRecord
from nanogpt_images.export.webdataset import ShardWriter

CHUNK = 1_000


def export(images: int) -> float:
    """Export so many images; return the peak of this process in MiB."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        originals = [source / f"{number}.png" for number in range(10)]
        for original in originals:
            original.write_bytes(bytes(1024))
        for number in range(images):
            (source / file_of(number)).hardlink_to(originals[number % 10])
        writer = ShardWriter(source / "shards", source, 10**9)
        for first in range(0, images, CHUNK):
            writer.write([record(number) for number in range(first, min(first + CHUNK, images))])
        writer.close()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def file_of(number: int) -> str:
    return f"fox-{number}-3f9a12c4.png"


def record(number: int) -> ResultRecord:
    return ResultRecord(
        key=f"fox-{number}",
        index=0,
        prompt=f"a red fox in the snow, number {number}",
        model="tiny-and-fast",
        parameters={},
        metadata={},
        row=number,
        file=file_of(number),
        media_type="image/png",
        width=1,
        height=1,
        bytes=1024,
        sha256="0" * 64,
        cost_usd=0.01,
        request_id=f"req-{number}",
    )


def measure(images: int) -> float:
    command = [sys.executable, __file__, "--export", str(images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--export", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export is not None:
        print(export(arguments.export))
        return
    found = {str(images): round(measure(images), 1) for images in (1_000, arguments.images)}
    if arguments.json:
        print(json.dumps(found))
        return
    for images, peak in found.items():
        print(f"{int(images):>9,} images: {peak:.1f} MiB at the most")


if __name__ == "__main__":
    main()
