"""Read what somebody picked in a gallery: images to keep, and requests to make again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final, cast

import attrs

from ..._base.display import shown
from ...errors import ParameterError

FORMAT: Final = "nanogpt_images picks"
_KEPT: Final = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
_AGAIN: Final = "x"
_MAX_BYTES: Final = 256 << 20


@attrs.frozen(kw_only=True)
class Picks:
    """
    The picks of a gallery.

    Attributes:
        kept: Images that were picked, with their marks from 1 to 5, by file relative to the batch's directory.
        again: IDs of the requests that are to be made again (`x`).
    """

    kept: Mapping[str, int] = attrs.field(repr=shown)
    again: frozenset[str] = attrs.field(repr=shown)


def read_picks(path: str | os.PathLike[str]) -> Picks:
    """
    Read the file that a gallery's button "Save picks" writes.

    Args:
        path: A JSON file: `{"format": "nanogpt_images picks", "picks": [{"pick": "5", "file": …, "request": …}, …]}`.

    Raises:
        ParameterError: It cannot be read, or is not such a file.

    Source: docs/gallery.md, "Pick images".
    """
    name = os.fspath(path)
    try:
        if os.path.getsize(name) > _MAX_BYTES:
            raise _unfit(name, "it is too large")
        with open(name, encoding="utf-8") as file:
            found: object = json.load(file)
    except OSError as error:
        raise _unfit(name, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _unfit(name, "it is not JSON") from error
    if not isinstance(found, dict) or cast("dict[str, object]", found).get("format") != FORMAT:
        raise _unfit(name, "a gallery did not save it")
    picks = cast("dict[str, object]", found).get("picks")
    if not isinstance(picks, list):
        raise _unfit(name, "it has no list of picks")
    kept: dict[str, int] = {}
    again: set[str] = set()
    for number, pick in enumerate(cast("list[object]", picks), 1):
        fields = cast("dict[str, object]", pick) if isinstance(pick, dict) else {}
        mark, file_name, request = fields.get("pick"), fields.get("file"), fields.get("request")
        if mark == _AGAIN and isinstance(request, str):
            again.add(request)
        elif isinstance(mark, str) and mark in _KEPT and isinstance(file_name, str):
            kept[file_name] = _KEPT[mark]
        else:
            raise _unfit(name, f"its pick {number} is neither 1 to 5 with a file nor x with a request")
    return Picks(kept=kept, again=frozenset(again))


def _unfit(name: str, reason: str) -> ParameterError:
    return ParameterError(
        f"{name} cannot be read as picks: {reason}. Nothing was sent.",
        parameter="picked",
        advice="Save it with the button 'Save picks' of the batch's gallery.",
    )
