"""
WebDataset: tar files ("shards") in which files with the same stem are a sample: `000000000.png`, `.txt`, `.json`.

`tarfile` is enough for this layout, and copies images from disk; the library's own writer needs them in memory.
Samples are numbered, because a dot in a name would end its stem.

Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import attrs

from ..batch.journal import ResultRecord
from ..errors import ParameterError


class ShardWriter:
    """
    Writes one sample per image: the image, its prompt and its fields.

    Args:
        directory: Directory of the shards; it is created.
        source: The batch's directory, with the images.
        max_shard_bytes: Start a new shard once one has reached this size.
    """

    def __init__(self, directory: Path, source: Path, max_shard_bytes: int) -> None:
        if max_shard_bytes < 1:
            raise ParameterError(
                f"max_shard_bytes must be at least 1, not {max_shard_bytes}.", parameter="max_shard_bytes"
            )
        self.images = 0
        self.missing = 0
        self._directory = directory
        self._source = source
        self._max_shard_bytes = max_shard_bytes
        self._shards = 0
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
        stem = f"{self.images:09d}"
        fields = json.dumps(attrs.asdict(image), ensure_ascii=False).encode()
        prompt = image.prompt.encode()
        self._add(f"{stem}{Path(image.file).suffix}", file, os.fstat(file.fileno()).st_size)
        self._add(f"{stem}.txt", BytesIO(prompt), len(prompt))
        self._add(f"{stem}.json", BytesIO(fields), len(fields))

    def _add(self, name: str, file: BinaryIO, size: int) -> None:
        # Without times and owners, the same batch gives the same shards.
        member = tarfile.TarInfo(name)
        member.size = size
        self._tar.addfile(member, file)

    def _next_shard(self) -> tarfile.TarFile:
        path = self._directory / f"{self._shards:06d}.tar"
        self._shards += 1
        return tarfile.open(path, "w")
