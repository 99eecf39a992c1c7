"""Read the record in an image file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .._base.sniff import HEAD_BYTES, sniff
from ..errors import OutputError
from .embedding import FORMATS, Format
from .record import Provenance
from .steps import UnfitError, pull
from .xmp import source_type_of


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
    form, texts = _texts(path)
    if form is None:
        return None
    jsons = (form.json_of(text) for text in texts)
    return next((record for json in jsons if json and (record := Provenance.from_json(json))), None)


def read_source_type(path: str | os.PathLike[str]) -> str | None:
    """
    Read where the image in *path* comes from, by its own words. Blocking, and quick.

    Args:
        path: A PNG, JPEG or WebP file.

    Returns:
        The term of IPTC's `DigitalSourceType`, such as `trainedAlgorithmicMedia`, also where another program wrote it;
        None where there is none.

    Raises:
        OutputError: The file cannot be read.

    Source: IPTC Photo Metadata Standard, "Digital Source Type".
    """
    form, texts = _texts(path)
    if form is None:
        return None
    packets = (form.packet_in(text) for text in texts)
    return next((term for packet in packets if packet and (term := source_type_of(packet))), None)


def _texts(path: str | os.PathLike[str]) -> tuple[Format | None, list[bytes]]:
    texts: list[bytes] = []
    try:
        with Path(path).open("rb") as file:
            form = FORMATS.get(sniff(file.read(HEAD_BYTES)).media_type)
            # A record before damaged bytes is still valid.
            with contextlib.suppress(UnfitError):
                if form is not None:
                    pull(file, form.walk(texts.append))
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}.") from error
    return form, texts
