"""What the fuzz targets share: instrumented imports, a corpus and words to start from, and limits."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

_LIMITS = ("-max_len=8192", "-timeout=5", "-rss_limit_mb=1024")
# test_targets.py imports the targets too, where there need be no atheris.
_FUZZING = Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent


def instrumented() -> contextlib.AbstractContextManager[object]:
    """Instrument the package's modules that are imported in the block."""
    if not _FUZZING:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["nanogpt_images"])


def fuzz(check: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[str]) -> None:
    """
    Call *check* with inputs until it raises, or libFuzzer's own options of the command line end the run.

    Args:
        check: Raises what is not allowed.
        seeds: Inputs to start from.
        words: What to put into inputs, beside what the seeds hold.
    """
    import atheris

    with tempfile.TemporaryDirectory() as directory:
        corpus, dictionary = Path(directory) / "corpus", Path(directory) / "words"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
        dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
        atheris.Setup([sys.argv[0], *_LIMITS, f"-dict={dictionary}", *sys.argv[1:], str(corpus)], check)
        atheris.Fuzz()
