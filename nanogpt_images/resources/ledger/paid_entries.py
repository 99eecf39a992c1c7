"""What a ledger holds: a paid call, the images that it brought, and what its answer said beside them."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

import attrs

from ...errors import Charge
from ...money.nano import to_usd
from ...types.prices import Cost
from ...types.result import GenerationResult, Image

_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), default=str)


class EntryState(enum.Enum):
    """Where a paid call stands."""

    SENT = "sent"
    """Its intent is recorded, and its process lives."""
    LINKED = "linked"
    """Charged; its signed URLs are known, and their download is open."""
    DONE = "done"
    """Its images are in the store."""
    FAILED = "failed"
    """Over without its images; the charge says whether it may be tried again."""
    UNKNOWN = "unknown"
    """Sent, and nothing tells what became of it."""


@attrs.frozen(kw_only=True)
class KeptFile:
    """
    An image in the store; its file is named by the digest of its bytes.

    Attributes:
        index: Its place in the answer, from 0.
        sha256: Hexadecimal digest, the stem of the file.
        suffix: Such as `.png`.
        media_type: Such as `image/png`, from the bytes; None where they do not tell.
        width: Pixels, where the format tells.
        height: Pixels, where the format tells.
        bytes: Size of the file.
    """

    index: int
    sha256: str
    suffix: str
    media_type: str | None
    width: int | None
    height: int | None
    bytes: int

    @property
    def file(self) -> str:
        """Its name in the folder of images."""
        return f"{self.sha256}{self.suffix}"


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """
    A paid call as a ledger knows it.

    Attributes:
        key: The caller's key; None for a key of its own making (`AUTO`, a batch).
        content: Digest of what shapes the image; the sample left out.
        sample: The sample, where one was given or counted.
        request: What shapes the image: route, model, prompt, parameters, digests of input images.
        state: Where it stands.
        charge: What is known about the money of one that failed or is unknown.
        cost_nano: What it cost; for one that is unknown or in flight, 0.
        request_id: The service's ID of the request.
        error_type: Name of the error's class, for one that failed or is unknown.
        error_text: Its text.
        attempts: How often it was sent.
        sent_at: When its last attempt was about to leave (seconds since the epoch).
        ended_at: When its outcome was recorded; None while it is in flight.
        images: Those in the store.
        pruned: Its images were removed to make room; it stays paid.
        answer: What the answer said beside its images, for `result_of`.
        service: What it was paid to.
    """

    seq: int
    name: str
    content: str
    sample: int | None
    request: Mapping[str, object] = attrs.field(repr=False)
    state: EntryState
    charge: Charge | None
    owner: str | None
    cost_nano: int
    request_id: str | None
    error_type: str | None
    error_text: str | None
    attempts: int
    sent_at: float
    ended_at: float | None
    images: tuple[KeptFile, ...]
    pruned: bool
    answer: Mapping[str, object] = attrs.field(repr=False)

    @property
    def key(self) -> str | None:
        """The caller's key; None for one of the ledger's own making."""
        return self.name[4:] if self.name.startswith("key:") else None

    @property
    def model(self) -> str:
        """ID of the model."""
        return str(self.request.get("model", ""))

    @property
    def prompt(self) -> str:
        """The prompt."""
        return str(self.request.get("prompt", ""))

    @property
    def cost_usd(self) -> float:
        """`cost_nano` in USD."""
        return to_usd(self.cost_nano)

    @property
    def may_be_tried_again(self) -> bool:
        """Whether it failed and cost nothing."""
        return self.state is EntryState.FAILED and self.charge in (Charge.NOT_SENT, Charge.REJECTED)


def answer_of(result: GenerationResult) -> dict[str, object]:
    """What *result* says beside the bytes of its images, as JSON values."""
    return {
        "asked": result.asked,
        "cost_usd": result.cost_usd,
        "cost": None if result.cost is None else [result.cost.amount, result.cost.currency],
        "remaining_balance": result.remaining_balance,
        "payment_source": result.payment_source,
        "request_id": result.request_id,
        "created": None if result.created is None else result.created.isoformat(),
        "problems": list(result.problems),
        "extra": dict(result.extra),
        "images": [[image.index, image.url, dict(image.extra)] for image in result.images],
    }


def answer_json(answer: Mapping[str, object]) -> str:
    """*answer* as text for the database."""
    return _COMPACT.encode(answer)


def links_of(entry: LedgerEntry) -> list[tuple[int, str]]:
    """The signed URLs of *entry* whose images are not in the store, with their places."""
    there = {image.index for image in entry.images}
    return [(index, url) for index, url, _ in _images(entry) if url is not None and index not in there]


def result_of(entry: LedgerEntry, images: Sequence[Image]) -> GenerationResult:
    """
    The result that *entry* was paid for.

    Args:
        entry: The call.
        images: Its images in the form that the caller takes, by index; URLs and words of the service are added.
    """
    facts = entry.answer
    said = {index: (url, extra) for index, url, extra in _images(entry)}
    by_index = {image.index: image for image in images}
    told: list[Image] = []
    for index in sorted(said.keys() | by_index.keys()):
        url, extra = said.get(index, (None, {}))
        told.append(attrs.evolve(by_index.get(index, Image(index=index)), url=url, extra=extra))
    cost = cast("list[object] | None", facts.get("cost"))
    created = cast("str | None", facts.get("created"))
    return GenerationResult(
        images=tuple(told),
        model=entry.model,
        prompt=entry.prompt,
        asked=cast("int", facts.get("asked", 1)),
        cost_usd=cast("float | None", facts.get("cost_usd")),
        cost=None if cost is None else Cost(cast("float", cost[0]), cast("str", cost[1])),
        remaining_balance=cast("float | None", facts.get("remaining_balance")),
        payment_source=cast("str | None", facts.get("payment_source")),
        request_id=entry.request_id,
        created=None if created is None else datetime.fromisoformat(created),
        problems=tuple(cast("list[str]", facts.get("problems", []))),
        extra=cast("Mapping[str, object]", facts.get("extra", {})),
    )


def _images(entry: LedgerEntry) -> list[tuple[int, str | None, Mapping[str, object]]]:
    return [
        cast("tuple[int, str | None, Mapping[str, object]]", tuple(image))
        for image in cast("list[list[object]]", entry.answer.get("images", []))
    ]
