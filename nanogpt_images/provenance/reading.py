"""A file → the record in it."""

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
    How the image in *path* was made, if `provenance=True` was given when it was written. Blocking, and quick:
    the picture itself is passed over.

    Args:
        path: A PNG, JPEG or WebP file.

    Returns:
        The record; None where the file holds none, also because another program left it out when it saved the image.

    Raises:
        OutputError: The file cannot be read.
    """
    texts: list[bytes] = []
    try:
        with Path(path).open("rb") as file:
            form = FORMATS.get(sniff(file.read(HEAD_BYTES)).media_type)
            if form is None:
                return None
            # What stands before some damage counts.
            with contextlib.suppress(UnfitError):
                pull(file, form.walk(texts.append))
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}.") from error
    jsons = (form.json_of(text) for text in texts)
    return next((record for json in jsons if json and (record := Provenance.from_json(json))), None)
