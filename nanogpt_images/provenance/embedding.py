"""Insert a record into an image on its way to the disk: only the first bytes are buffered, no pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from .._base.sink import Sink
from .._base.sniff import sniff
from . import jpeg, png, webp, xmp
from .record import Provenance
from .steps import CUT_SHORT, Edit, Push, UnfitError, Walk

_ENOUGH_TO_SNIFF: Final = 64
_MAX_HEAD_BYTES: Final = 256 * 1024


@attrs.frozen(kw_only=True)
class Format:
    """
    A format that can hold a record.

    Attributes:
        edit: Says where a record goes, given the first bytes of a file.
        walk: Checks a file's structure and tells what texts it holds.
        json_of: A record's JSON in such a text.
        packet_in: The XMP packet in such a text.
        marked: A whole file with a mark in it; None where it names a source already.
        one_text: Only one text counts, so a file that has one takes no record.
    """

    edit: Callable[[bytes, Provenance], Edit | None]
    walk: Callable[[Callable[[bytes], object]], Walk]
    json_of: Callable[[bytes], str | None]
    packet_in: Callable[[bytes], bytes | None]
    marked: Callable[[bytes, str], bytes | None]
    one_text: bool


FORMATS: Final[Mapping[str | None, Format]] = {
    "image/png": Format(
        edit=png.edit,
        walk=png.walk,
        json_of=png.json_of,
        packet_in=png.packet_in,
        marked=png.marked,
        one_text=False,
    ),
    "image/jpeg": Format(
        edit=jpeg.edit,
        walk=jpeg.walk,
        json_of=xmp.json_of,
        packet_in=lambda text: text,
        marked=jpeg.marked,
        one_text=True,
    ),
    "image/webp": Format(
        edit=webp.edit,
        walk=webp.walk,
        json_of=xmp.json_of,
        packet_in=lambda text: text,
        marked=webp.marked,
        one_text=True,
    ),
}


class Embedding:
    """
    A sink that adds a record to an image and writes it to another sink.

    Attributes:
        problem: Why the image has no record; None if it has one. Final after `close`.
        undo: After `close`, the edit that restores the original file, because the image turned out to be unfit at its
            end; None if nothing has to be undone.
    """

    problem: str | None
    undo: Edit | None

    def __init__(self, sink: Sink, record: Provenance) -> None:
        self.problem = None
        self.undo = None
        self._sink = sink
        self._record = record
        self._head = b""
        self._decided = self._closed = False
        self._form: Format | None = None
        self._edit: Edit | None = None
        self._check: Push | None = None
        self._texts = 0

    def write(self, data: bytes, /) -> None:
        """Write the next bytes of the image, with the record where it belongs."""
        if self._decided:
            self._sink.write(data)
            if self._check is not None:
                self._check.feed(data)
            return
        self._head += data
        if len(self._head) >= _ENOUGH_TO_SNIFF:
            self._decide()

    def close(self) -> None:
        """Complete the image; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if not self._decided:
            self._decide()
        if not self._decided:
            self.problem = CUT_SHORT
            self._begin()
        if self._form is None or self._edit is None or self._check is None:
            return
        try:
            self._check.close()
            if self._texts and self._form.one_text:
                raise UnfitError("it already has XMP metadata")
        except UnfitError as error:
            self.problem = str(error)
            self.undo = Edit(taken=len(self._edit.head), head=self._head)
        else:
            if self._edit.tail:
                self._sink.write(self._edit.tail)

    def _decide(self) -> None:
        """Begin the file once its first bytes determine the edit."""
        kind = sniff(self._head).media_type
        self._form = FORMATS.get(kind)
        if self._form is None:
            self.problem = f"{kind or 'an unknown format'} has no place for it"
        else:
            try:
                self._edit = self._form.edit(self._head, self._record)
            except UnfitError as error:
                self.problem = str(error)
            else:
                if self._edit is None and len(self._head) <= _MAX_HEAD_BYTES:
                    return
                self._watch(self._form)
        self._begin()

    def _watch(self, form: Format) -> None:
        """Check the rest of the image as it passes; give up if its metadata exceed the buffer."""
        if self._edit is None:
            self.problem = "its metadata are too long"
            return
        self._check = Push(form.walk(self._found))
        self._check.feed(self._head)

    def _begin(self) -> None:
        self._decided = True
        taken = 0
        if self._edit is not None:
            taken = self._edit.taken
            self._sink.write(self._edit.head)
        self._sink.write(self._head[taken:])
        self._head = self._head[:taken]

    def _found(self, text: bytes) -> None:
        del text
        self._texts += 1
