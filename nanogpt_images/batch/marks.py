"""The mark of generated images, added to those of an earlier batch."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import attrs

from .._base.disk import publish
from .._base.durable import sync_files
from .._base.part_file import PartFile
from .._base.sniff import HEAD_BYTES, sniff
from .._base.threads import in_thread
from ..errors import OutputError
from ..provenance.embedding import FORMATS
from ..provenance.record import source_type_for
from ..provenance.steps import UnfitError, pull
from .journal import ImageRecord, Journal
from .journal.rewriting import Rewrite


@attrs.frozen(kw_only=True)
class MarkReport:
    """
    What was done to the images of a batch.

    Attributes:
        marked: Images that say now what they are.
        already: Images that said so before, in whatever words.
        left: Images that were left as they are: the reason → how many.
    """

    marked: int
    already: int
    left: Mapping[str, int]


async def mark_batch(directory: str | os.PathLike[str]) -> MarkReport:
    """
    Write into each image of a batch that it is generated, or composed with what is: IPTC's `DigitalSourceType`, as XMP.

    No pixel is touched. Files are replaced one by one and whole; the journal and `results.jsonl` have the new sizes and
    digests. A call that was interrupted is completed by the next one.

    Args:
        directory: The batch's directory; no other process may be at work in it.

    Raises:
        JournalError: There is no batch in it, or it is in use.
        OutputError: A file cannot be written.

    Source: IPTC Photo Metadata Standard, "Digital Source Type"; docs/provenance.md.
    """
    folder = Path(directory)
    marked, already, left = 0, 0, Counter[str]()
    async with await Journal.open(folder, service=None) as journal:
        async for record in journal.units():
            term = source_type_for(record.unit.row.route)
            for kept in record.images:
                try:
                    part = await in_thread(_prepared, folder, kept.image, term)
                except UnfitError as error:
                    left[str(error)] += 1
                    continue
                if part is None:
                    already += 1
                    continue
                try:
                    await _replace(journal, record.unit.id, kept.image, part, folder)
                finally:
                    await in_thread(part.remove)
                marked += 1
        await journal.relist()
    return MarkReport(marked=marked, already=already, left=dict(left))


async def _replace(journal: Journal, unit_id: str, image: ImageRecord, part: PartFile, folder: Path) -> None:
    digest = part.sha256() or ""
    if digest != image.sha256:
        rewrite = Rewrite(unit_id=unit_id, file=image.file, bytes=part.size_bytes, sha256=digest)
        await journal.rewrite([rewrite])
    await in_thread(lambda: publish(part.path, folder / PurePosixPath(image.file), overwrite=True))


def _prepared(folder: Path, image: ImageRecord, term: str) -> PartFile | None:
    """
    Write a marked copy of *image* beside it; None where it is marked already.

    Raises:
        UnfitError: It is left as it is, and why.
    """
    if image.is_elsewhere:
        raise UnfitError("it is in an object store")
    path = folder / PurePosixPath(image.file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnfitError(f"it cannot be read ({error.strerror})") from error
    marked = _marked(data, term)
    if marked is None:
        return None
    if image.sha256 not in (hashlib.sha256(data).hexdigest(), hashlib.sha256(marked).hexdigest()):
        raise UnfitError("it is not the file that the batch wrote")
    part = PartFile(path.parent, digest=True)
    try:
        part.write(marked)
        part.close()
        sync_files([part.path])
    except OutputError:
        part.remove()
        raise
    return part


def _marked(data: bytes, term: str) -> bytes | None:
    kind = sniff(data[:HEAD_BYTES]).media_type
    form = FORMATS.get(kind)
    if form is None:
        raise UnfitError(f"{kind or 'an unknown format'} has no place for it")
    pull(io.BytesIO(data), form.walk(lambda _: None))
    marked = form.marked(data, term)
    if marked is not None:
        pull(io.BytesIO(marked), form.walk(lambda _: None))
    return marked
