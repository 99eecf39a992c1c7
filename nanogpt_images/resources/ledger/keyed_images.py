"""Calls with a key as `Images` makes them: their names, and where their images go."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from ..._base.names import image_stem
from ...errors import ConfigurationError, OutputError, ParameterError
from ...outputs import DirectoryStore, ImageStore, existing_images, make_directory
from ...provenance.record import Provenance
from ...references import ReferenceLoader
from ...references.upload import Upload, load_uploads
from ...transport.sender import AttemptHooks
from ...types.reference import Reference
from ...types.request import EditRequest, ImageRequest
from ...types.result import GenerationResult, Image
from .fingerprint import AUTO, CallKey, Fingerprint, checked_key, checked_sample, fingerprint
from .keyed_call import KeyedCall, Pays
from .ledger_store import auto_name
from .paid_entries import KeptFile
from .paid_ledger import PaidLedger


class Run(Protocol):
    """Makes the paid request; `Images.run` with its request."""

    async def __call__(self, store: ImageStore, *, hooks: AttemptHooks) -> GenerationResult: ...


class Download(Protocol):
    """Fetches the images behind URLs; `Images.downloaded`."""

    async def __call__(
        self, result: GenerationResult, store: ImageStore, *, received_at: float | None = None
    ) -> GenerationResult: ...


@attrs.frozen(kw_only=True)
class ToMemory:
    """
    A caller that takes the bytes.

    Attributes:
        run: Makes the paid request.
        fetch: Fetches the images behind URLs.
    """

    run: Run
    fetch: Download
    in_memory: bool = True

    async def pay(self, store: ImageStore, hooks: AttemptHooks) -> GenerationResult:
        """Send the request and keep its images in *store*."""
        return await self.run(store, hooks=hooks)

    async def download(
        self, result: GenerationResult, store: ImageStore, received_at: float | None
    ) -> GenerationResult:
        """Fetch the images behind the URLs of *result*."""
        return await self.fetch(result, store, received_at=received_at)

    def prepare(self) -> None:
        """Check before anything is paid that the images can be delivered."""

    def deliver(self, images: Iterable[tuple[KeptFile, bytes]], request_id: str | None) -> Sequence[Image]:
        """Hand the images to the caller."""
        del request_id
        return [_image(kept, data=data) for kept, data in images]


@attrs.frozen(kw_only=True)
class ToDirectory(ToMemory):
    """
    A caller that wants files.

    Attributes:
        folder: Where they go.
        stem: Their name without suffix and number.
        guarded: Files of that name stop the call before it is paid for.
        overwrite: Files of that name are replaced.
        count: Images expected.
        provenance: Written into each.
    """

    folder: Path
    stem: str
    guarded: bool
    overwrite: bool
    count: int
    provenance: Provenance | None
    in_memory: bool = False

    def prepare(self) -> None:
        """Check before anything is paid that the images can be delivered."""
        make_directory(self.folder)
        if self.guarded and (files := existing_images(self.folder, self.stem, self.count)):
            raise OutputError(
                f"{files[0]} exists; choose another name or pass overwrite=True. Nothing was sent."
            )

    def deliver(self, images: Iterable[tuple[KeptFile, bytes]], request_id: str | None) -> Sequence[Image]:
        """Hand the images to the caller. A file that is there with the same bytes is the one that an earlier delivery wrote."""
        store = DirectoryStore(
            self.folder,
            functools.partial(image_stem, self.stem),
            overwrite=self.overwrite,
            digest=True,
            provenance=self.provenance,
        )
        indices: list[int] = []
        for kept, data in images:
            store.open(kept.index, request_id).write(data)
            indices.append(kept.index)
        store.is_slow(indices)
        delivered: list[Image] = []
        for stored in store.finish(indices):
            assert stored.path is not None
            target = self.folder / f"{image_stem(self.stem, stored.index, len(indices))}{stored.info.suffix}"
            path = stored.path
            if path != target and target.read_bytes() == path.read_bytes():
                path.unlink()
                path = target
            elif path != target and self.guarded:
                path.unlink()
                raise OutputError(
                    f"{target} exists and holds another image; choose another name or pass overwrite=True. Nothing was"
                    " sent: the images of this key are in the ledger."
                )
            delivered.append(attrs.evolve(Image.stored(stored), path=path))
        return delivered


class KeyedImages:
    """
    Makes calls with a key.

    Args:
        ledger: The client's; None where it has none.
        references: Loads input images, whose bytes are part of what makes two requests the same.
    """

    def __init__(self, ledger: PaidLedger | None, references: ReferenceLoader) -> None:
        self._ledger = ledger
        self._references = references

    async def call(
        self, request: ImageRequest, caller: Pays, *, key: CallKey, sample: int | None
    ) -> GenerationResult:
        """
        Return the images of *key*, paid for once.

        Raises:
            ConfigurationError: The client has no ledger.
            ParameterError: The key cannot be one, or belongs to another request.
            NanoGPTError: See `KeyedCall.result`.
        """
        checked_key(key)
        checked_sample(sample)
        if self._ledger is None:
            raise ConfigurationError(
                "key= needs a ledger: make the client with AsyncClient(ledger=FILE). Nothing was sent."
            )
        print_ = await self.fingerprint(request, sample=sample, service=await self._ledger.open())
        name = _name(key, print_)
        return await KeyedCall(
            ledger=self._ledger, name=name, print_=print_, request=request, caller=caller
        ).result()

    async def fingerprint(
        self, request: ImageRequest, *, sample: int | None = None, service: str
    ) -> Fingerprint:
        """What a ledger compares of *request*; its input images are read for it."""
        if isinstance(request, EditRequest):
            uploads = await load_uploads(request, None)
            images, mask = [_identity(image) for image in uploads.images], uploads.mask
            return fingerprint(
                request,
                service=service,
                references=images,
                mask=None if mask is None else _identity(mask),
                sample=sample,
            )
        loaded = await self._references.load(request, None)
        return fingerprint(request, service=service, references=loaded.urls, mask=loaded.mask, sample=sample)


def _identity(image: Reference) -> str:
    """Return the digest of an image to upload; of one that is a link, the link."""
    digest = image.sha256 if isinstance(image, Upload) else None
    return image.url if digest is None else digest


def refuse_sample(sample: int | None) -> None:
    """
    Refuse a *sample* without a key.

    Raises:
        ParameterError: One was given.
    """
    if sample is not None:
        raise ParameterError(
            "sample goes with key=.", parameter="sample", advice="Pass key=AUTO, or a key of your own."
        )


def _name(key: CallKey, print_: Fingerprint) -> str:
    if key is not AUTO:
        return f"key:{key}"
    if print_.sample is None and not print_.seeded:
        # Two such requests want two images.
        return f"once:{uuid.uuid4().hex}"
    return auto_name(print_.content, print_.sample or 0)


def _image(kept: KeptFile, *, data: bytes) -> Image:
    return Image(
        index=kept.index,
        data=data,
        media_type=kept.media_type,
        width=kept.width,
        height=kept.height,
        size_bytes=kept.bytes,
        sha256=kept.sha256,
    )
