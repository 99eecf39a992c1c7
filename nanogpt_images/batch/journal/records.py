"""The values that go into a journal and come out of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ...errors import Charge
from ...money.nano import to_usd
from ..outcomes import ImageRecord, SignedUrl
from ..states import State
from ..units import Unit


@attrs.frozen(kw_only=True)
class ResultRecord:
    """
    An image with what it came of; the fields of a line of `results.jsonl`.

    Attributes:
        key: The row's key.
        index: Its place within the row, from 0.
        prompt: The row's.
        model: The row's.
        parameters: The row's.
        row: The row's number in the manifest, from 1; None for images of earlier versions.
        metadata: The row's.
        file: Path relative to the batch's directory, with forward slashes.
        media_type: Such as `image/png`, from the bytes.
        width: Pixels, where the format tells.
        height: Pixels, where the format tells.
        bytes: Size of the file.
        sha256: Hex digest of the file.
        cost_usd: Its part of what the request cost.
        request_id: The service's ID of the request.
    """

    key: str | None
    index: int
    prompt: str
    model: str
    parameters: Mapping[str, object]
    row: int | None = None
    metadata: Mapping[str, object] = attrs.field(factory=dict[str, object])
    file: str
    media_type: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    cost_usd: float
    request_id: str | None


@attrs.frozen(kw_only=True)
class Admission:
    """
    A unit as the journal knows it.

    Attributes:
        unit: The paid request.
        state: Where it stands now.
        claimed: It is this process's to send (`PENDING`) or to download (`LINKED`, and what failed or is unknown
            with links). Where False, it is done, over, or in flight in another process.
        links: What is still to be downloaded.
        linked_at: When the links were journalled (seconds since the epoch).
        request_id: The service's ID of the request, where there are links.
        kept: Indices of its images that are on disk, where there are links.
        charge: What is known about the money of a request that failed or is unknown, where there are links.
    """

    unit: Unit
    state: State
    claimed: bool
    links: tuple[SignedUrl, ...] = ()
    linked_at: float | None = None
    request_id: str | None = None
    kept: frozenset[int] = frozenset()
    charge: Charge | None = None


@attrs.frozen(kw_only=True)
class Ending:
    """
    A unit that failed, whose outcome is unknown, or whose download is open.

    Attributes:
        unit: The paid request.
        state: `FAILED`, `UNKNOWN` or `LINKED`.
        charge: What is known about the money.
        cost_nano: What the attempt cost; for an unknown one, what it may have cost at most.
        attempts: How often it was sent.
        updated_at: When it ended (seconds since the epoch).
    """

    unit: Unit
    state: State
    charge: Charge
    error_type: str | None
    error_text: str | None
    request_id: str | None
    cost_nano: int
    attempts: int
    updated_at: float

    @property
    def cost_usd(self) -> float:
        """`cost_nano` in USD."""
        return to_usd(self.cost_nano)


@attrs.frozen(kw_only=True)
class KeptImage:
    """An image that the journal lists; `cost_nano` is its share of what its request cost."""

    image: ImageRecord
    cost_nano: int

    @property
    def cost_usd(self) -> float:
        """`cost_nano` in USD."""
        return to_usd(self.cost_nano)


@attrs.frozen(kw_only=True)
class UnitRecord:
    """
    A unit as a reader of the journal finds it.

    Attributes:
        unit: The paid request.
        state: Where it stands; what a dead process had sent is unknown.
        charge: What is known about the money of one that failed or is unknown.
        error_type: Name of the error's class, for one that failed, is unknown or waits for its download.
        error_text: Its text.
        request_id: The service's ID of the request.
        cost_nano: What its last attempt cost; for one in flight or unknown, the most it can cost.
        attempts: How often it was sent.
        images: Those on disk, those of earlier attempts first.
        updated_at: When it came to its state (seconds since the epoch).
        took_s: Seconds from the start of its last attempt to its images on disk, or to their signed URLs; None where
            it is not done, or the journal does not tell.
    """

    unit: Unit
    state: State
    charge: Charge | None
    error_type: str | None
    error_text: str | None
    request_id: str | None
    cost_nano: int
    attempts: int
    images: tuple[KeptImage, ...]
    updated_at: float
    took_s: float | None

    @property
    def cost_usd(self) -> float:
        """`cost_nano` in USD."""
        return to_usd(self.cost_nano)


@attrs.frozen(kw_only=True)
class ManifestRecord:
    """
    A manifest whose rows a job makes.

    Attributes:
        path: Absolute path of the file.
        sha256: Hex digest of the file when it was last read from its beginning.
        rows: Rows in it.
        options: How rows were made of it: arguments of `read_manifest`, as JSON values.
        read: How many of the rows, from the first on, have come into the journal.
        planned_nano: What all of its rows were expected to cost when it was planned; None where it was not planned whole.
    """

    path: str
    sha256: str
    rows: int
    options: Mapping[str, object]
    read: int = 0
    planned_nano: int | None = None

    @property
    def unread(self) -> int:
        """Rows that never came into the journal."""
        return max(0, self.rows - self.read)


@attrs.frozen(kw_only=True)
class Totals:
    """
    The sums of a journal. Money is in nano-USD, with a `…_usd` twin.

    Attributes:
        rows: Rows admitted.
        units: Paid requests by state.
        charged_failures: Failed requests that were charged.
        expected_images: What all units together are to make.
        images: Images on disk.
        planned_nano: What all units were expected to cost when they came in.
        to_come_nano: The part of it that is for units still to be sent.
        unpriced_units: Units whose price was not known then; they are in neither.
        spent_nano: What was charged for certain.
        reserved_nano: The worst case of requests in flight.
        unknown_nano: The worst case of requests whose outcome is unknown.
        followed_links: Failed and unknown requests of which signed URLs are still to be downloaded.
        manifests: The files that its rows come from, as far as they came from files.
    """

    rows: int
    units: Mapping[State, int]
    charged_failures: int
    expected_images: int
    images: int
    planned_nano: int
    to_come_nano: int
    unpriced_units: int
    spent_nano: int
    reserved_nano: int
    unknown_nano: int
    followed_links: int = 0
    manifests: tuple[ManifestRecord, ...] = ()

    @property
    def manifest_rows(self) -> int | None:
        """Rows of the manifests; None where there are none."""
        return sum(manifest.rows for manifest in self.manifests) if self.manifests else None

    @property
    def unread_rows(self) -> int:
        """Rows of the manifests that never came into the journal."""
        return sum(manifest.unread for manifest in self.manifests)

    @property
    def job_usd(self) -> float | None:
        """What all rows of the manifests were expected to cost (USD), read or not; None where that was not planned."""
        planned = [manifest.planned_nano for manifest in self.manifests]
        known = [nano for nano in planned if nano is not None]
        return to_usd(sum(known)) if known and len(known) == len(planned) else None

    @property
    def committed_nano(self) -> int:
        """What a budget has to count: spent, reserved and unknown."""
        return self.spent_nano + self.reserved_nano + self.unknown_nano

    @property
    def planned_usd(self) -> float:
        """`planned_nano` in USD."""
        return to_usd(self.planned_nano)

    @property
    def to_come_usd(self) -> float:
        """`to_come_nano` in USD."""
        return to_usd(self.to_come_nano)

    @property
    def spent_usd(self) -> float:
        """`spent_nano` in USD."""
        return to_usd(self.spent_nano)

    @property
    def reserved_usd(self) -> float:
        """`reserved_nano` in USD."""
        return to_usd(self.reserved_nano)

    @property
    def unknown_usd(self) -> float:
        """`unknown_nano` in USD."""
        return to_usd(self.unknown_nano)


@attrs.frozen(kw_only=True)
class Remainder:
    """
    What a job of several processes still has to do when one of them ends.

    Attributes:
        pending: Requests to be sent, or in flight in another process.
        open_downloads: Paid images to be downloaded, by request.
        held_by_others: Those of both that other living processes have in hand.
        unread: Rows of all manifests that were never read, while other processes live that may read them.
    """

    pending: int
    open_downloads: int
    held_by_others: int
    unread: int


@attrs.frozen(kw_only=True)
class ModelSpending:
    """
    What a job spent on one model, in nano-USD.

    Attributes:
        spent_nano: What was charged for certain.
        open_nano: The worst case of requests in flight or unknown.
    """

    model: str
    spent_nano: int
    open_nano: int


@attrs.frozen(kw_only=True)
class ModelTotals:
    """
    The sums of a journal for one model. Money is in nano-USD, with a `…_usd` twin.

    Attributes:
        model: ID of the model.
        requests: Paid requests, whatever their state.
        done: Those whose images are on disk.
        failed: Those that failed.
        unknown: Those whose outcome is unknown.
        images: Images on disk.
        spent_nano: What was charged for certain.
        unknown_nano: The worst case of requests that may have been charged.
        median_s: Median duration of the requests that are done, in seconds; see `UnitRecord.took_s`.
    """

    model: str
    requests: int
    done: int
    failed: int
    unknown: int
    images: int
    spent_nano: int
    unknown_nano: int
    median_s: float | None

    @property
    def spent_usd(self) -> float:
        """`spent_nano` in USD."""
        return to_usd(self.spent_nano)

    @property
    def unknown_usd(self) -> float:
        """`unknown_nano` in USD."""
        return to_usd(self.unknown_nano)


@attrs.frozen(kw_only=True)
class SpendingByModel:
    """
    What a job spent by model, and its first and last moment (seconds since the epoch).

    Attributes:
        first_at: When its first process began; None where none did.
        last_at: When the last of its units changed; None where it has none.
    """

    models: tuple[ModelSpending, ...]
    first_at: float | None
    last_at: float | None


@attrs.frozen(kw_only=True)
class Holder:
    """A process that works on the journal."""

    pid: int
    host: str
    started_at: float
