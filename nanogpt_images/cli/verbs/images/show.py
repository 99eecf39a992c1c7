"""`show`: how an image was made, from its own file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import click

from ....batch.journal import Journal, ResultRecord
from ....batch.journal.database.schema import FILE_NAME
from ....errors import NanoGPTError
from ....provenance.reading import read_provenance, read_source_type
from ....provenance.record import Provenance
from ... import common as _common
from ...client import run_async
from ...errors import FAILED, message
from ...output import money, note, one_line, say_fields, say_json

_MOST_DEEP: Final = 4
"""How far above an image its batch is looked for: `images/00/fox.png`, and one more."""


@_common.verb("show", example="show out/images/fox.png")
@click.argument("file", metavar="FILE")
def command(file: str, base_url: str | None, as_json: bool) -> int:
    """
    Show how the image in FILE was made: from the file, if it was written with --provenance, and from the journal of the
    batch that it lies in. Nothing is sent.

    The exit code is 1 if neither says.
    """
    del base_url
    path = Path(file)
    record, source_type = read_provenance(path), read_source_type(path)
    found = _in_batch(path)
    if as_json:
        document: dict[str, object] = {
            "file": file,
            "provenance": None if record is None else _fields(record),
        }
        if found is not None:
            document["batch"] = {"directory": str(found[0]), **attrs.asdict(found[1])}
        if source_type is not None:
            document["digital_source_type"] = source_type
        say_json(document)
    elif record is None and found is None:
        if source_type is not None:
            say_fields({"source type": one_line(source_type)})
        note(
            f"{one_line(file)} does not say how it was made; 'generate' and 'batch' write it with --provenance"
        )
    else:
        if record is not None:
            _print(record, source_type)
        elif source_type is not None:
            say_fields({"source type": one_line(source_type)})
        if found is not None:
            _print_batch(*found, briefly=record is not None)
    return FAILED if record is None and found is None else 0


def _in_batch(path: Path) -> tuple[Path, ResultRecord] | None:
    """Find the batch in whose directory *path* lies, and what its journal says of the image."""
    whole = path.absolute()
    above = (folder for folder in whole.parents[1:_MOST_DEEP] if os.path.isfile(folder / FILE_NAME))
    if (directory := next(above, None)) is None:
        return None
    file = whole.relative_to(directory).as_posix()

    async def look() -> ResultRecord | None:
        async with await Journal.open(directory, service=None, read_only=True) as journal:
            return await journal.result_of(file)

    try:
        found = run_async(look)
    except NanoGPTError as error:
        note(f"note: the journal in {one_line(str(directory))} cannot be read: {message(error)}")
        return None
    return None if found is None else (directory, found)


def _print_batch(directory: Path, image: ResultRecord, *, briefly: bool) -> None:
    made = {
        "prompt": one_line(image.prompt),
        "model": one_line(image.model),
        "parameters": _values(image.parameters),
        "request": one_line(image.request_id or ""),
    }
    say_fields(
        {
            **({} if briefly else made),
            "batch": one_line(str(directory)),
            "key": one_line(image.key or ""),
            "row": f"{image.row:,}" if image.row is not None else "",
            "image": f"{image.index} of its row, from 0",
            "metadata": _values(image.metadata),
            "cost": money(image.cost_usd),
        }
    )


def _values(values: Mapping[str, object]) -> list[str]:
    return [one_line(f"{name}={json.dumps(value, ensure_ascii=False)}") for name, value in values.items()]


def _fields(record: Provenance) -> dict[str, object]:
    """Return the record, with `parents` where there are any."""
    fields = attrs.asdict(record)
    return fields if record.parents else {name: value for name, value in fields.items() if name != "parents"}


def _print(record: Provenance, source_type: str | None) -> None:
    say_fields(
        {
            "prompt": one_line(record.prompt),
            "model": one_line(record.model),
            "route": record.route,
            "seed": "" if record.seed is None else str(record.seed),
            "parameters": _values(record.parameters),
            "parents": list(record.parents),
            "left out": [one_line(name) for name in record.left_out],
            "request": one_line(record.request_id or ""),
            "service": one_line(record.service or ""),
            "written by": one_line(record.software),
            "source type": one_line(source_type or ""),
        }
    )
