"""The outcomes of a request as values: settlement makes them, a recorder writes them down, a worker reports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs

from .._base.display import shown_url
from ..errors import Charge

UNKNOWN_TYPE: Final = "application/octet-stream"


@attrs.frozen(kw_only=True)
class ImageRecord:
    """
    An image on disk.

    Attributes:
        index: Its place in the request's answer, from 0.
        file: Path relative to the batch's directory, with forward slashes; or the URL of an object.
        media_type: Such as `image/png`, from the bytes; `UNKNOWN_TYPE` where they do not tell.
        width: Pixels, where the format tells.
        height: Pixels, where the format tells.
        bytes: Size of the file.
        sha256: Hex digest of the file.
    """

    index: int
    file: str
    media_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the image is an object of a store, not a file of the directory."""
        return "://" in self.file


@attrs.frozen(kw_only=True)
class SignedUrl:
    """A signed URL whose image has been charged; `index` is its place in the request's answer."""

    index: int
    url: str = attrs.field(repr=lambda url: repr(shown_url(url)))


@attrs.frozen
class Refused:
    """The request was neither carried out nor charged, or it did not leave: it is pending again."""


@attrs.frozen
class Repeated:
    """The request may have been charged and is sent again: it is pending, and its worst case stays counted."""


@attrs.frozen(kw_only=True)
class Linked:
    """
    The answer holds signed URLs, which are recorded before they are downloaded.

    Attributes:
        links: What is to be downloaded.
        images: Images of the same answer that are on disk already.
        cost_nano: What the service says it cost; None counts what was reserved.
        request_id: The service's ID of the request.
    """

    links: Sequence[SignedUrl]
    images: Sequence[ImageRecord] = ()
    cost_nano: int | None = None
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Done:
    """
    The images are on disk.

    Attributes:
        images: Those not recorded before.
        cost_nano: What the service says it cost; None counts what was recorded with the links, else what was
            reserved.
        request_id: The service's ID of the request.
    """

    images: Sequence[ImageRecord]
    cost_nano: int | None = None
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Failed:
    """
    The request ended without all of its images.

    Attributes:
        charge: What is known about the money; `UNKNOWN` keeps what was reserved for the request counted.
        error_type: Name of the error's class.
        error_text: Its text.
        images: Images that could be saved nevertheless.
        links: Signed URLs that came nevertheless; their download stays open.
        cost_nano: For a charged request, what it cost; None counts what was reserved.
        request_id: The service's ID of the request.
    """

    charge: Charge
    error_type: str
    error_text: str
    images: Sequence[ImageRecord] = ()
    links: Sequence[SignedUrl] = ()
    cost_nano: int | None = None
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Postponed:
    """The download did not succeed in this run and stays open for a later one; the error says why."""

    error_type: str
    error_text: str


Outcome: TypeAlias = Refused | Repeated | Linked | Done | Failed | Postponed


def images_of(outcome: Outcome) -> Sequence[ImageRecord]:
    """Return the images that *outcome* adds to what is recorded."""
    return outcome.images if isinstance(outcome, Linked | Done | Failed) else ()
