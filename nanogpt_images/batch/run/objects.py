"""Images as objects of a store: `s3://`, `gs://`, `az://` and `file://` URLs."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

from ..._base.display import install_hint
from ..._base.logs import get_logger
from ...errors import Charge, ConfigurationError, OutputError
from ..outcomes import ImageRecord

_PART_BYTES: Final = 8 * 2**20
_READ_BYTES: Final = 2**20
_PROBE: Final = b"nanogpt_images"

_log = get_logger("nanogpt_images.batch")


class ObjectStorage:
    """
    A place for images.

    Credentials and the endpoint come from the environment, in the variables of the service's own tools
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` …).

    Args:
        url: The store and a prefix.

    Raises:
        ConfigurationError: The library is not installed, or the URL does not name a store.
    """

    def __init__(self, url: str) -> None:
        try:
            from obstore.store import LocalStore, from_url
        except ImportError as error:
            raise ConfigurationError(
                f"images at a URL need obstore: {install_hint('object-storage')}.",
                says_charge=True,
            ) from error
        self._url = url.rstrip("/")
        self._has_attributes = not url.startswith("file:")
        try:
            self._store = from_url(url) if self._has_attributes else LocalStore.from_url(url, mkdir=True)
        except Exception as error:  # the library's errors have no common base that it documents
            raise ConfigurationError(
                f"{url} cannot be used for images: {error}.", says_charge=True
            ) from error

    async def probe(self) -> None:
        """
        Write a small object, read it and remove it, before anything is paid.

        Raises:
            OutputError: It cannot be written or read; nothing was sent.
        """
        import obstore

        name = f".nanogpt-images-probe-{secrets.token_hex(8)}"
        try:
            await obstore.put_async(self._store, name, _PROBE)
            found = await obstore.get_async(self._store, name)
            same = bytes(await found.bytes_async()) == _PROBE
        except Exception as error:  # see above
            raise _unusable(self._url, str(error)) from error
        if not same:
            raise _unusable(self._url, "what can be read is not what was written")
        try:
            await obstore.delete_async(self._store, name)
        except Exception as error:  # images are never removed, so this much need not be allowed
            _log.warning("%s/%s could not be removed again: %s", self._url, name, _first(str(error)))

    async def put(self, path: Path, image: ImageRecord) -> ImageRecord:
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
    reason = _first(reason)
    return OutputError(
        f"{url} could not be stored: {reason}.",
        advice=f"The image is whole in {path}; the same command again stores it.",
        charge=Charge.CHARGED,
    )


def _unusable(url: str, reason: str) -> OutputError:
    return OutputError(
        f"{url} cannot take images: {_first(reason)}.",
        advice="Check the address and the credentials.",
        says_charge=True,
    )


def _first(reason: str) -> str:
    # What follows the first paragraph is the library's state, for its developers.
    return reason.partition("\n\n")[0].replace("\n", " ").rstrip(".")
