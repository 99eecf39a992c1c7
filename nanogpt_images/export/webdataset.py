"""
WebDataset: tar files ("shards") in which files with the same stem are a sample: `fox.png`, `fox.txt`, `fox.json`.

`tarfile` is enough for this layout, and copies images from disk; the library's own writer needs them in memory.
The stem, which readers call `__key__`, is the row's key, with `-0`, `-1` … where the row has several images. A dot would
end it, so dots become `_`; rows without a key have words of their prompt.

Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import attrs

from ..batch.journal import ResultRecord
from ..batch.units import MARKED_NAME


class ShardWriter:
    """
    Writes one sample per image: the image, its prompt and its fields.

    Args:
        directory: Directory of the shards; it is created.
        source: The batch's directory, with the images.
        max_shard_bytes: Start a new shard once one has reached this size.
    """

    def __init__(self, directory: Path, source: Path, max_shard_bytes: int) -> None:
        self.images = 0
        self.missing = 0
        self._directory = directory
        self._source = source
        self._max_shard_bytes = max_shard_bytes
        self._shards = 0
        self._stems: set[int] = set()
        directory.mkdir()
        self._tar = self._next_shard()

    def write(self, images: Sequence[ResultRecord]) -> None:
        """Add one sample per image; an image that is not on disk counts as missing."""
        for image in images:
            try:
                file = (self._source / image.file).open("rb")
            except FileNotFoundError:
                self.missing += 1
                continue
            with file:
                if self._tar.offset >= self._max_shard_bytes:
                    self._tar.close()
                    self._tar = self._next_shard()
                self._add_sample(image, file)
            self.images += 1

    def close(self) -> None:
        """Complete the last shard."""
        self._tar.close()

    def _add_sample(self, image: ResultRecord, file: BinaryIO) -> None:
        stem = self._stem(image)
        fields = json.dumps(attrs.asdict(image), ensure_ascii=False).encode()
        prompt = image.prompt.encode()
        self._add(f"{stem}{Path(image.file).suffix}", file, os.fstat(file.fileno()).st_size)
        self._add(f"{stem}.txt", BytesIO(prompt), len(prompt))
        self._add(f"{stem}.json", BytesIO(fields), len(fields))

    def _stem(self, image: ResultRecord) -> str:
        """Return the name of a sample, which no other of its shard has."""
        name = Path(image.file).stem.replace(".", "_")
        marked = MARKED_NAME.fullmatch(f"{name}.x")
        stem = marked["stem"].removesuffix(f"-{marked['mark']}") if marked and not marked["number"] else name
        # A number for each, in place of the text: two stems with one number cost the second its short name.
        mark = zlib.crc32(stem.encode())
        if mark in self._stems:
            return name
        self._stems.add(mark)
        return stem

    def _add(self, name: str, file: BinaryIO, size: int) -> None:
        # Without times and owners, the same batch gives the same shards.
        member = tarfile.TarInfo(name)
        member.size = size
        self._tar.addfile(member, file)
        # It keeps every member for readers; a shard of small images has hundreds of thousands of them.
        self._tar.getmembers().clear()

    def _next_shard(self) -> tarfile.TarFile:
        path = self._directory / f"{self._shards:06d}.tar"
        self._shards += 1
        self._stems.clear()
        return tarfile.open(path, "w")
