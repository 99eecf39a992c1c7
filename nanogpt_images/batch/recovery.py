"""Images that were on disk when a run was killed, before its journal could say so."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .._logging import get_logger
from .._sniff import HEAD_BYTES, sniff
from .._threads import in_thread
from ..errors import OutputError
from ..outputs import PART_SUFFIX, make_directory
from .journal import Journal, StoredImage
from .keeping import Keeping
from .units import Unit

_log = get_logger("nanogpt_images.batch")
_SUFFIXES: Final = (".png", ".jpg", ".webp")
_ENDS: Final = {"image/png": b"IEND\xaeB`\x82", "image/jpeg": b"\xff\xd9"}


def prepare(directory: Path, shared: bool) -> None:
    """Make the directory of images, and unless others write there remove what killed runs left half written."""
    make_directory(directory)
    if shared:
        return
    try:
        for path in directory.glob(f".*{PART_SUFFIX}"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot tidy {directory}: {error.strerror or error}. Nothing was sent.") from error


async def recover(journal: Journal, keeping: Keeping | None = None) -> int:
    """
    Count requests as done that are unknown or wait for a download, and whose images are all on disk and no other's.

    To be called while no other process works on the journal.

    Args:
        journal: The journal.
        keeping: What counts them; by default the journal itself.

    Returns:
        How many requests that were.

    Raises:
        JournalError: The journal cannot be written.
    """
    left = [ending.unit async for ending in journal.unknowns()]
    left += [ending.unit async for ending in journal.open_downloads()]
    found = await in_thread(_find, journal.directory, left)
    known = await journal.recorded([image.file for _, images in found for image in images])
    recovered = 0
    for unit, images in found:
        if known.isdisjoint(image.file for image in images):
            await (keeping or journal).done(unit.id, images)
            recovered += 1
    if recovered:
        _log.warning("%d interrupted requests had their images on disk and count as done.", recovered)
    return recovered


def _find(directory: Path, units: Iterable[Unit]) -> list[tuple[Unit, list[StoredImage]]]:
    """The units with a whole file under the name of each of their images."""
    stems = {unit.id: [unit.image_stem(index) for index in range(unit.images)] for unit in units}
    # Two requests can ask for the same name; then nothing tells whose file it is.
    claims = Counter(stem for names in stems.values() for stem in names)
    found: list[tuple[Unit, list[StoredImage]]] = []
    for unit in units:
        images = [
            image
            for index, stem in enumerate(stems[unit.id])
            if claims[stem] == 1 and (image := _whole_image(directory, stem, index)) is not None
        ]
        if len(images) == unit.images:
            found.append((unit, images))
    return found


def _whole_image(directory: Path, stem: str, index: int) -> StoredImage | None:
    files = [path for suffix in _SUFFIXES if (path := directory / "images" / f"{stem}{suffix}").is_file()]
    if len(files) != 1:
        return None
    try:
        data = files[0].read_bytes()
    except OSError:
        return None
    info = sniff(data[:HEAD_BYTES])
    if info.media_type is None or not _is_whole(data, info.media_type):
        return None
    return StoredImage(
        index=index,
        file=files[0].relative_to(directory).as_posix(),
        media_type=info.media_type,
        width=info.width,
        height=info.height,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _is_whole(data: bytes, media_type: str) -> bool:
    # A file gets its name after its last byte, but a power cut can take bytes that were not yet on the disk.
    if media_type == "image/webp":
        return int.from_bytes(data[4:8], "little") + 8 <= len(data)
    end = _ENDS.get(media_type)
    return end is not None and data.endswith(end)
