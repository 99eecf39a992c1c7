"""A folder of images as a manifest: an edit of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ...errors import ManifestError
from .formats import Record

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp"})


def holds_only_images(folder: Path) -> bool:
    """Return whether *folder* has images and no Parquet file directly in it. Raises OSError."""
    suffixes = {file.suffix.lower() for file in folder.iterdir() if not file.name.startswith(".")}
    return bool(suffixes & _SUFFIXES) and not suffixes & {".parquet", ".pq"}


def folder_records(files: Sequence[Path]) -> Iterator[Record]:
    """
    Make a row of each of *files*.

    The prompt and the model come from the defaults. A row is named by its file, without the suffix.
    """
    return (
        (number, {"image": [str(file)], "route": "edit", "key": file.stem})
        for number, file in enumerate(files, start=1)
    )


def image_files(folder: Path) -> list[Path]:
    """
    List the images in *folder*, as absolute paths: a resumed batch may be started from somewhere else.

    Raises:
        ManifestError: There is none, or the folder cannot be read.
    """
    try:
        files = [
            file
            for file in sorted(folder.resolve().iterdir())
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        raise ManifestError(f"{folder} cannot be read: {error.strerror}.") from error
    if not files:
        raise ManifestError(f"the folder {folder} has no images in it ({', '.join(sorted(_SUFFIXES))}).")
    return files


def folder_digest(folder: Path) -> str:
    """
    Compute a digest of the names and sizes of the images in *folder*.

    Raises:
        ManifestError: There is none, or the folder cannot be read.
    """
    listing = "\n".join(f"{file.name} {file.stat().st_size}" for file in image_files(folder))
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
