"""`sandbox`: the stand-in service, until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import ConfigurationError
from .. import common as _common
from ..client import SANDBOX_KEY, require_sandbox, run_async
from ..output import note, say, say_json
from ..signals import Interrupts, interrupting

if TYPE_CHECKING:
    from ...sandbox import Fault


def _latency(ctx: click.Context, option: click.Parameter, text: str) -> float | tuple[float, float]:
    del ctx
    low, dash, high = text.partition("-")
    try:
        bounds = (float(low), float(high if dash else low))
    except ValueError:
        bounds = (1.0, 0.0)
    if not 0 <= bounds[0] <= bounds[1]:
        raise click.BadParameter(f"{text!r} is neither SECONDS nor LOW-HIGH.", param=option)
    return bounds if dash else bounds[0]


@_common.verb("sandbox", example="sandbox --port 8400 --latency 1-5")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port to listen on (default: a free one).",
)
@click.option(
    "--latency",
    default="0",
    callback=_latency,
    metavar="SECONDS",
    help="Time that an image takes, or LOW-HIGH for a random time between them.",
)
@click.option("--faults", metavar="FILE", help="JSON file that says what goes wrong, and for which requests.")
@click.option(
    "--requests-per-second",
    type=_common.Rate(min_open=False),
    default=25,
    show_default=True,
    metavar="R",
    help="Requests accepted in any one second, before a 429; 0 accepts all.",
)
def command(
    port: int,
    latency: float | tuple[float, float],
    faults: str | None,
    requests_per_second: float,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Run a stand-in for the service on this machine, until Ctrl-C. It draws real images and charges nothing."""
    del base_url
    require_sandbox()
    rules = _faults(faults)

    async def serve() -> None:
        from ...sandbox import Sandbox

        service = Sandbox(
            port=port, latency_s=latency, faults=rules, requests_per_second=requests_per_second or None
        )
        closed = asyncio.Event()
        try:
            await service.__aenter__()
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used ({os.strerror(error.errno or 0)}); choose another, or leave --port out."
            ) from error
        try:
            with interrupting(Interrupts(closed.set, closed.set)):
                _announce(service.url, as_json=as_json)
                await closed.wait()
        finally:
            await service.__aexit__(None, None, None)

    with contextlib.suppress(KeyboardInterrupt):
        run_async(serve)
    return 0


def _faults(file: str | None) -> Sequence[Fault]:
    if file is None:
        return ()
    from ...sandbox import load_faults

    try:
        return load_faults(Path(file))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{file} holds no faults that can be used: {reason}") from error


def _announce(url: str, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {"base_url": url, "api_key": SANDBOX_KEY, "ledger": f"{url}/_sandbox/ledger", "pid": os.getpid()}
        )
        return
    say(f"export NANOGPT_BASE_URL={url}")
    say(f"export NANOGPT_API_KEY={SANDBOX_KEY}")
    note(f"sandbox at {url}; what it billed: {url}/_sandbox/ledger; Ctrl-C ends it")
