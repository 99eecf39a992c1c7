"""Read the record in an image file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .._base.sniff import HEAD_BYTES, sniff
from ..errors import OutputError
from .embedding import FORMATS
from .record import Provenance
from .steps import UnfitError, pull


def read_provenance(path: str | os.PathLike[str]) -> Provenance | None:
    """
    Read how the image in *path* was made, if it was written with `provenance=True`.

    Blocking, but fast: the picture itself is skipped.

    Args:
        path: A PNG, JPEG or WebP file.

    Returns:
        The record; None if the file has none, for example because another program saved the image without it.

    Raises:
        OutputError: The file cannot be read.
    """
    texts: list[bytes] = []
    try:
        with Path(path).open("rb") as file:
            form = FORMATS.get(sniff(file.read(HEAD_BYTES)).media_type)
            if form is None:
                return None
            # A record before damaged bytes is still valid.
            with contextlib.suppress(UnfitError):
                pull(file, form.walk(texts.append))
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}.") from error
    jsons = (form.json_of(text) for text in texts)
    return next((record for json in jsons if json and (record := Provenance.from_json(json))), None)
