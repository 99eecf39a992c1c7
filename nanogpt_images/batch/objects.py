"""Images as objects of a store: `s3://`, `gs://`, `az://` and `file://` URLs."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

from ..errors import Charge, ConfigurationError, OutputError
from .journal import StoredImage

_PART_BYTES: Final = 8 * 2**20
_READ_BYTES: Final = 2**20


class ObjectStorage:
    """
    A place for images.

    Credentials and the endpoint come from the environment, in the variables of the service's own tools
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` …).

    Args:
        url: The store and a prefix.

    Raises:
        ConfigurationError: The library is not installed, or the URL is of no store.
    """

    def __init__(self, url: str) -> None:
        try:
            from obstore.store import LocalStore, from_url
        except ImportError as error:
            raise ConfigurationError(
                "images at a URL need obstore: pip install 'nanogpt_images[object-storage]'. Nothing was sent."
            ) from error
        self._url = url.rstrip("/")
        self._has_attributes = not url.startswith("file:")
        try:
            self._store = from_url(url) if self._has_attributes else LocalStore.from_url(url, mkdir=True)
        except Exception as error:  # the library's errors have no common base that it documents
            raise ConfigurationError(
                f"{url} cannot be used for images: {error}. Nothing was sent."
            ) from error

    async def put(self, path: Path, image: StoredImage) -> StoredImage:
        """
        Upload a file, in several parts where it is large, and read it back.

        The object is named by the file and its content: the same image again replaces itself and nothing else.

        Returns:
            The image with the object's URL for its file.

        Raises:
            OutputError: It could not be stored, or what can be read is not what was sent.
        """
        import obstore

        file = PurePosixPath(image.file)
        name = f"{file.stem}-{image.sha256[:12]}{file.suffix}"
        try:
            attributes = {"Content-Type": image.media_type} if self._has_attributes else None
            await obstore.put_async(self._store, name, path, attributes=attributes, chunk_size=_PART_BYTES)
            size, digest = await self._read_back(name)
        except Exception as error:  # see above
            raise _not_stored(path, f"{self._url}/{name}", str(error)) from error
        if (size, digest) != (image.bytes, image.sha256):
            raise _not_stored(path, f"{self._url}/{name}", f"{size} bytes with another digest are there")
        return attrs.evolve(image, file=f"{self._url}/{name}")

    async def _read_back(self, name: str) -> tuple[int, str]:
        import obstore

        # Stores disagree on checksums, and none gives the SHA-256 of an object of several parts.
        digest, size = hashlib.sha256(), 0
        found = await obstore.get_async(self._store, name)
        async for chunk in found.stream(min_chunk_size=_READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
        return size, digest.hexdigest()


def _not_stored(path: Path, url: str, reason: str) -> OutputError:
    # What follows the first paragraph is the library's state, for its developers.
    reason = reason.partition("\n\n")[0].replace("\n", " ").rstrip(".")
    return OutputError(
        f"{url} could not be stored: {reason}. It was charged. The image is whole in {path}; the same command again"
        " stores it.",
        charge=Charge.CHARGED,
    )
