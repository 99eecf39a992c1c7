"""The options of a sandbox; only loopback addresses are allowed as hosts."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

import attrs

from .catalog.definitions import SandboxModel
from .faults.rules import Fault


def is_loopback(host: str) -> bool:
    """Return whether *host* is `localhost`, a name below it, or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback(instance: object, attribute: attrs.Attribute[str], host: str) -> None:
    if not is_loopback(host):
        raise ValueError(
            f"host {host!r} is not a loopback address. Use 127.0.0.1: the sandbox listens on loopback only."
        )


def _prefix(value: str) -> str:
    return "/" + value.strip("/") if value.strip("/") else ""


@attrs.frozen(kw_only=True)
class SandboxOptions:
    """
    Options of a sandbox, all with working defaults.

    Args:
        host: Loopback address to listen on.
        port: Port of the API; 0 picks a free one.
        prefix: Path under which the API is served, as behind a gateway (`/gateway`).
        key: The only key accepted; None accepts every well-formed key.
        requests_per_second: Generations accepted per key in any one second; None accepts all.
        concurrency: Simultaneous generations per key, further ones get a 429; None accepts all.
        daily_requests: Generations per key and UTC day; None accepts all.
        daily_usd: USD per key and UTC day; None accepts all.
        latency_s: Seconds that a generation takes, or the (low, high) bounds of a uniform draw.
        seed: Seed of every random decision of the sandbox.
        url_ttl_s: Lifetime of a signed URL, in seconds.
        url_fallback_rate: Share of `url` requests answered with `b64_json` instead, 0 to 1.
        balance_usd: Initial balance of each key.
        image_bytes: Pad each image to about this many bytes, for measurements; None leaves them as drawn.
        faults: Rules for the faults to inject.
        models: Models offered; None offers the built-in catalogue.
        clock: Wall clock in Unix seconds: `created`, expiry of URLs, daily limits.
        monotonic: Clock of the rate limit and of the ledger's arrival times.
    """

    host: str = attrs.field(default="127.0.0.1", validator=_loopback)
    port: int = 0
    prefix: str = attrs.field(default="", converter=_prefix)
    key: str | None = attrs.field(default=None, repr=False)
    requests_per_second: float | None = 25
    concurrency: int | None = None
    daily_requests: int | None = None
    daily_usd: float | None = None
    latency_s: float | tuple[float, float] = 0.0
    seed: int = 0
    url_ttl_s: float = 3600
    url_fallback_rate: float = 0.0
    balance_usd: float = 100.0
    image_bytes: int | None = None
    faults: Sequence[Fault] = ()
    models: Sequence[SandboxModel] | None = None
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class SandboxKeywords(TypedDict, total=False):
    """The fields of SandboxOptions as keyword arguments."""

    host: str
    port: int
    prefix: str
    key: str | None
    requests_per_second: float | None
    concurrency: int | None
    daily_requests: int | None
    daily_usd: float | None
    latency_s: float | tuple[float, float]
    seed: int
    url_ttl_s: float
    url_fallback_rate: float
    balance_usd: float
    image_bytes: int | None
    faults: Sequence[Fault]
    models: Sequence[SandboxModel] | None
    clock: Callable[[], float]
    monotonic: Callable[[], float]
