"""
What cutting images out of a body in memory costs, beside json and beside bare base64 decoding.

Five ways take the same body in turn, cut in the same chunks, and hand the image to the same kind of sink:

    stream  ours, with json for the rest
    json    join, json, pybase64: the body whole in memory, and the image too
    whole   pybase64 on the whole text at once        | floors: they know where the text is,
    chunks  pybase64 on each chunk                    | check nothing else,
    slices  pybase64 on each 64 Ki characters         | and carry nothing from chunk to chunk

The sink drops what it gets, or with --file writes it, unbuffered.

    python benchmarks/b64stream.py [--json] [--file] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from random import Random

import attrs
import pybase64

from nanogpt_images.wire.b64stream import ImageStream, Sink

SIZES = {"1 KiB": 1024, "64 KiB": 64 * 1024, "1.5 MiB": 3 * 512 * 1024, "12 MiB": 12 * 1024 * 1024}
CHUNK_KIB = (64, 256)
SLICE_BYTES = 64 * 1024
ROUND_BYTES = 24 * 1024 * 1024
MOST_BODIES = 2000
HEAD = b'{"created":1700000000,"data":[{"b64_json":"'
TAIL = b'"}],"cost":0.0123,"paymentSource":"USD","remainingBalance":12.345}'

WAYS = ("stream", "json", "whole", "chunks", "slices")
Way = Callable[[Sink], None]


class Nowhere:
    """A sink that drops what it gets."""

    def write(self, data: bytes) -> None:
        pass


def open_nowhere() -> AbstractContextManager[Sink]:
    return nullcontext(Nowhere())


def open_file() -> AbstractContextManager[Sink]:
    return tempfile.TemporaryFile(buffering=0)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def ways_to_read(picture: bytes, chunk_bytes: int) -> dict[str, Way]:
    """The ways to bring one body to a sink; the chunks are made beforehand."""
    text = pybase64.b64encode(picture)
    chunks = pieces(HEAD + text + TAIL, chunk_bytes)
    text_chunks = pieces(text, chunk_bytes)

    def stream(sink: Sink) -> None:
        images = ImageStream(lambda _: sink)
        for chunk in chunks:
            images.feed(chunk)
        json.loads(images.close())

    def plain_json(sink: Sink) -> None:
        sink.write(pybase64.b64decode(json.loads(b"".join(chunks))["data"][0]["b64_json"], None, True))

    def whole(sink: Sink) -> None:
        sink.write(pybase64.b64decode(text, None, True))

    def each_chunk(sink: Sink) -> None:
        for chunk in text_chunks:
            sink.write(pybase64.b64decode(chunk, None, True))

    def each_slice(sink: Sink) -> None:
        for chunk in text_chunks:
            view = memoryview(chunk)
            for start in range(0, len(chunk), SLICE_BYTES):
                sink.write(pybase64.b64decode(view[start : start + SLICE_BYTES], None, True))

    return dict(zip(WAYS, (stream, plain_json, whole, each_chunk, each_slice), strict=True))


def check(way: Way, picture: bytes) -> None:
    """Every way must bring the same bytes."""
    with tempfile.TemporaryFile(buffering=0) as sink:
        way(sink)
        sink.seek(0)
        assert sink.read() == picture


def body_us(way: Way, bodies: int, opened: Callable[[], AbstractContextManager[Sink]]) -> float:
    """Time per body in µs, without opening and closing the sink."""
    with opened() as sink:
        start_ns = time.perf_counter_ns()
        for _ in range(bodies):
            way(sink)
        return (time.perf_counter_ns() - start_ns) / bodies / 1000


@attrs.frozen(kw_only=True)
class Result:
    """Medians of one size of image and chunk."""

    image: str
    chunk_kib: int
    mb_per_s: int
    us: dict[str, float]


def measure(size: str, chunk_kib: int, *, rounds: int, to_file: bool) -> Result:
    """Time all ways in turn, *rounds* times."""
    picture = Random(size).randbytes(SIZES[size])
    ways = ways_to_read(picture, chunk_kib * 1024)
    for way in ways.values():
        check(way, picture)
    bodies = max(1, min(MOST_BODIES, ROUND_BYTES // len(picture)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(body_us(way, bodies, open_file if to_file else open_nowhere))
    us = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return Result(image=size, chunk_kib=chunk_kib, mb_per_s=round(len(picture) / us["stream"]), us=us)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--file", action="store_true", help="write the images to an unlinked temporary file")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    results = [
        measure(size, chunk_kib, rounds=options.rounds, to_file=options.file)
        for size in SIZES
        for chunk_kib in CHUNK_KIB
    ]
    if options.json:
        machine = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "pybase64": pybase64.get_version(),
        }
        print(
            json.dumps(
                {
                    "sink": "file" if options.file else "none",
                    "machine": machine,
                    "results": [attrs.asdict(row) for row in results],
                }
            )
        )
        return
    print("µs per body, medians; in brackets stream / way")
    print(
        f"{'image':>8} {'chunk':>8} {'MB/s':>6} {'stream':>9}" + "".join(f"{name:>17}" for name in WAYS[1:])
    )
    for result in results:
        columns = "".join(
            f"{result.us[name]:>9.1f} ({result.us['stream'] / result.us[name]:5.2f})" for name in WAYS[1:]
        )
        print(
            f"{result.image:>8} {result.chunk_kib:>4} KiB {result.mb_per_s:>6} {result.us['stream']:>9.1f}{columns}"
        )


if __name__ == "__main__":
    main()
