"""Take over a directory whose journal is gone: its images enter a new journal, so that they are not paid for again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, cast

import attrs

from ..._base.logs import get_logger
from ...errors import ManifestError, OutputError
from ...money.nano import to_nano
from ..outcomes import UNKNOWN_TYPE, ImageRecord
from ..rows import BatchRow, Route
from ..states import State
from ..units import Unit, unit_id
from . import results
from .database.store import Store

_log = get_logger(__name__)
_SPARE_NAME: Final = "results.before-adopt.jsonl"
_OPENAI_ONLY: Final = frozenset(
    [
        "size",
        "response_format",
        "user",
        "image_data_url",
        "image_data_urls",
        "mask_data_url",
        "strength",
        "guidance_scale",
        "num_inference_steps",
        "kontext_max_mode",
    ]
)
_MOST_TRIED: Final = 1_000
# Above the numbers of all requests, those of the lost journal and those that follow.
_FIRST_ADOPTED: Final = 1 << 32


@attrs.frozen
class _Line:
    row: BatchRow
    index: int
    image: ImageRecord
    cost_nano: int
    request_id: str | None


def adopt(store: Store) -> int:
    """
    Add the images of `results.jsonl` whose files are as it says, each as a request of its own that is done.

    The list is rewritten from the journal; where lines were not taken over, the old list stays beside it.

    Returns:
        How many images were added.

    Raises:
        OutputError: The list cannot be read or written.
    """
    path = store.directory / results.FILE_NAME
    if not results.lists_images(store.directory):
        if not store.holds_units() and results.image_stems(store.directory):
            _log.warning(
                "no image in %s could be taken over: %s, which says what each one shows, is gone or empty. All rows are"
                " paid for again; the images stay.",
                *(store.directory / "images", results.FILE_NAME),
            )
        return 0
    try:
        found = path.read_bytes().splitlines()
        lines = [line for text in found if (line := _line(store.directory, text)) is not None]
        if len(lines) < len(found):
            shutil.copyfile(path, path.with_name(_SPARE_NAME))
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror or error}).") from error
    _log.warning(
        "%d of %d images of %s were taken over%s.",
        *(len(lines), len(found), path),
        "" if len(lines) == len(found) else f"; the old list is {_SPARE_NAME}",
    )
    numbers = Counter[str]()
    totals = Counter(line.row.digest for line in lines)
    for line in sorted(lines, key=lambda line: (line.row.number or 0, line.index)):
        place = numbers[line.row.digest]
        numbers[line.row.digest] += 1
        row = line.row
        unit = Unit(
            id=_new_id(row.digest, place),
            row=row,
            n=1,
            images=1,
            part=place,
            parts=totals[row.digest],
            first_index=line.index,
            replica=0,
        )
        add_finished(store, unit, line.image, cost_nano=line.cost_nano, request_id=line.request_id)
    # The run that made them took part, and has ended.
    store.connection.execute(
        "INSERT INTO process (token, pid, host, started_at, ended_at) VALUES ('adopted', 0, '', ?1, ?1)",
        (store.clock(),),
    )
    # The size is that of no list, so it is written from the journal.
    store.connection.execute("UPDATE stored SET images = ?, results_bytes = -1", (len(lines),))
    results.rewrite(store.connection, store.directory)
    return len(lines)


def add_finished(
    store: Store, unit: Unit, image: ImageRecord, *, cost_nano: int, request_id: str | None
) -> None:
    """Add a request of one image that is done."""
    added = store.connection.execute(
        "INSERT INTO unit (id, row, n, part, parts, images, first_index, replica, planned_nano, state, attempts,"
        " request_id, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
        (
            *(bytes.fromhex(unit.id), unit.row.to_json(), unit.n, unit.part, unit.parts, unit.images),
            *(unit.first_index, unit.replica, cost_nano, State.PENDING.value, request_id, store.clock()),
        ),
    )
    store.connection.execute(
        "UPDATE tally SET units = units + 1, rows = rows + ?, images = images + 1, planned_nano = planned_nano + ?"
        " WHERE state = ? AND charge = ''",
        (unit.part == 0, cost_nano, State.PENDING.value),
    )
    # The trigger takes it from there to where it belongs.
    store.connection.execute(
        "UPDATE unit SET state = ?, cost_nano = ? WHERE seq = ?",
        (State.DONE.value, cost_nano, added.lastrowid),
    )
    store.connection.execute(
        "INSERT INTO image (unit, attempt, idx, file, media_type, width, height, bytes, sha256, cost_nano)"
        " VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(added.lastrowid, image.index, image.file, image.media_type, image.width, image.height),
            *(image.bytes, image.sha256, cost_nano),
        ),
    )


def _new_id(digest: str, number: int) -> str:
    return unit_id(digest, _FIRST_ADOPTED + number)


def _ids(digest: str) -> Iterator[str]:
    """List the IDs that the requests of a row can have had."""
    for number in range(_MOST_TRIED):
        yield unit_id(digest, number)
        yield unit_id(digest, _FIRST_ADOPTED + number)


def _line(directory: Path, text: bytes) -> _Line | None:
    """Read a line of the list; None where it is not one, or where its file is not what it says."""
    try:
        fields = cast("dict[str, object]", json.loads(text))
        image = ImageRecord(
            index=0,
            file=str(fields["file"]),
            media_type=str(fields.get("media_type") or UNKNOWN_TYPE),
            width=_number(fields.get("width")),
            height=_number(fields.get("height")),
            bytes=int(str(fields["bytes"])),
            sha256=str(fields["sha256"]),
        )
        row = _row(fields, image)
        row = row.evolved(number=_number(fields.get("row")))
        request_id = fields.get("request_id")
        line = _Line(
            row,
            int(str(fields["index"])),
            image,
            to_nano(float(str(fields.get("cost_usd") or 0))),
            None if request_id is None else str(request_id),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ManifestError):
        return None
    return line if image.is_elsewhere or _is_there(directory, image) else None


def _is_there(directory: Path, image: ImageRecord) -> bool:
    file = PurePosixPath(image.file)
    if file.is_absolute() or ".." in file.parts:
        return False
    try:
        with (directory / file).open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest() == image.sha256
    except OSError:
        return False


def _row(fields: dict[str, object], image: ImageRecord) -> BatchRow:
    """Return the row of a line; its parameters or its file's name tell its route, which the list does not name."""
    given = {name: fields.get(name) for name in ("prompt", "model", "key", "parameters", "metadata")}
    routes: tuple[Route, ...] = ("images", "openai", "edit")
    by_route = {route: BatchRow.of({**given, "route": route}) for route in routes}
    parameters = by_route["images"].parameters
    if "image" in parameters:
        return by_route["edit"]
    if parameters.keys() & _OPENAI_ONLY:
        return by_route["openai"]
    mark = PurePosixPath(image.file).stem.partition("_")[0][-8:]
    for route in routes[::-1]:
        digest = by_route[route].digest
        if any(hashlib.sha256(identity.encode()).hexdigest()[:8] == mark for identity in _ids(digest)):
            return by_route[route]
    return by_route["images"]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
