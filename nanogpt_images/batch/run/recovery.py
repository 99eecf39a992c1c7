"""Images that were on disk when a run was killed, before its journal could say so."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Final

from ..._base.logs import get_logger
from ..._base.sniff import HEAD_BYTES, sniff
from ..._base.threads import in_thread
from ...errors import OutputError
from ...outputs import abandoned
from ..journal import Journal
from ..journal.results import image_folders
from ..outcomes import UNKNOWN_TYPE, Done, ImageRecord
from ..recorder import Recorder
from ..units import MARKED_NAME, Unit

_log = get_logger("nanogpt_images.batch")
_MOST_EXTRA: Final = 32
_ENDS: Final = {"image/png": b"IEND\xaeB`\x82", "image/jpeg": b"\xff\xd9"}


async def recover(journal: Journal, recorder: Recorder | None = None) -> int:
    """
    Count requests as done that were given up or wait for a download, and whose images are all on disk.

    A file is taken for an image of a request by its name, which ends in the request's mark and is given to whole
    files only. Call it only while no other process works on the journal.

    Args:
        journal: The journal.
        recorder: Counts them; by default the journal itself.

    Returns:
        How many requests that were.

    Raises:
        JournalError: The journal cannot be written.
        OutputError: The directory of images cannot be read.
    """
    await _sweep(journal)
    recovered = await journal.settle()
    left = [ending.unit async for ending in journal.unknowns()]
    left += [ending.unit async for ending in journal.open_downloads()]
    found = await in_thread(_find, journal.directory, left)
    known = await journal.recorded([image.file for _, images in found for image in images])
    for unit, images in found:
        # Of several attempts at one image the last is taken.
        fresh = {image.index: image for image in images if image.file not in known}
        if fresh.keys() >= set(range(unit.images)):
            outcome = Done(images=[fresh[index] for index in sorted(fresh)])
            await (recorder or journal).record(unit.id, outcome)
            recovered += 1
    if recovered:
        _log.warning("%d interrupted requests had their images on disk and count as done.", recovered)
    return recovered


async def _sweep(journal: Journal) -> None:
    """Remove what dead processes left half written; an image that has no other name is kept."""
    try:
        parts = await in_thread(_left_behind, journal.directory)
    except FileNotFoundError:
        return
    except OSError as error:
        directory = journal.directory / "images"
        raise OutputError(f"cannot tidy {directory}: {error.strerror or error}.", says_charge=True) from error
    names = {path.relative_to(journal.directory).as_posix(): path for path in parts}
    kept = await journal.recorded(list(names))
    await in_thread(_remove, [path for name, path in names.items() if name not in kept])


def _left_behind(directory: Path) -> list[Path]:
    return [path for folder in image_folders(directory) for path in abandoned(folder)]


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _find(directory: Path, units: Sequence[Unit]) -> list[tuple[Unit, list[ImageRecord]]]:
    """Find what is on disk under the names of the units' images, earlier attempts first."""
    images = directory / "images"
    folders = image_folders(directory) if units and images.is_dir() else []
    files = _files(folders, {unit.mark for unit in units})
    concerned = [unit for unit in units if unit.mark in files]
    # A mark is short: where two requests have the same name after all, nothing tells whose file it is.
    claims = Counter(unit.image_stem(0) for unit in concerned)
    found: list[tuple[Unit, list[ImageRecord]]] = []
    for unit in concerned:
        if claims[unit.image_stem(0)] > 1:
            continue
        stems = {unit.image_stem(index): index for index in range(unit.images + _MOST_EXTRA)}
        whole = [
            image
            for stem, path in files[unit.mark]
            if stem in stems and (image := _whole_image(directory, path, stems[stem])) is not None
        ]
        found.append((unit, whole))
    return found


def _files(folders: Sequence[Path], marks: Set[str]) -> dict[str, list[tuple[str, Path]]]:
    """Group the files in *folders* whose names end in one of *marks* by mark: (stem, path), in the order of their numbers."""
    numbered: list[tuple[int, str, str, Path]] = []
    for path in itertools.chain.from_iterable(folder.iterdir() for folder in folders):
        match = MARKED_NAME.fullmatch(path.name)
        if match is not None and match["mark"] in marks:
            numbered.append((int(match["number"] or 1), match["mark"], match["stem"], path))
    files: dict[str, list[tuple[str, Path]]] = {}
    for _, mark, stem, path in sorted(numbered):
        files.setdefault(mark, []).append((stem, path))
    return files


def _whole_image(directory: Path, path: Path, index: int) -> ImageRecord | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    info = sniff(data[:HEAD_BYTES])
    if info.suffix != path.suffix or not _is_whole(data, info.media_type):
        return None
    return ImageRecord(
        index=index,
        file=path.relative_to(directory).as_posix(),
        media_type=info.media_type or UNKNOWN_TYPE,
        width=info.width,
        height=info.height,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _is_whole(data: bytes, media_type: str | None) -> bool:
    # A file gets its name after its last byte, but a power cut can take bytes that were not yet on the disk; where
    # a format tells its end, that is asked for. What stands behind the end is the service's business.
    if media_type == "image/webp":
        return int.from_bytes(data[4:8], "little") + 8 <= len(data)
    return bool(data) and _ENDS.get(media_type or "", b"") in data
