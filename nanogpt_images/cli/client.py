"""The client of a verb: which service, with which key, and the event loop that it runs on."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .._base.display import install_hint
from ..client import AsyncClient
from ..errors import ConfigurationError
from ..transport.options import (
    BASE_URL_VARIABLE,
    KEY_VARIABLE,
    KEYS_VARIABLE,
    checked_base_url,
    checked_key,
    is_loopback,
    keys_of_environment,
)
from .errors import NoKeyError
from .output import note, one_line

R = TypeVar("R")
SANDBOX_KEY: Final = "sk-nano-sandbox"
# A bulk job that is only tried out must not end at the sandbox's usual balance.
_SANDBOX_BALANCE_USD: Final = 1_000_000.0


@contextlib.asynccontextmanager
async def open_client(
    *,
    base_url: str | None,
    sandbox: bool = False,
    paid: bool = True,
    requests_per_second: float | None = 25,
    quiet: bool = False,
    budget_usd: float | None = None,
    assume_price_usd: float | None = None,
) -> AsyncGenerator[AsyncClient]:
    """
    Open the client that a verb works with.

    Args:
        base_url: The option of that name.
        sandbox: Use a sandbox: the one at *base_url* on loopback, else one in this process.
        paid: The verb sends paid requests, so it needs a key.
        requests_per_second: Pacing; a sandbox in this process is not paced.
        quiet: Without a note on the sandbox.
        budget_usd: See `AsyncClient`.
        assume_price_usd: See `AsyncClient`.

    Raises:
        NoKeyError: A key is needed and there is none that can be used.
        ConfigurationError: The address cannot be used, or the sandbox is not installed.
    """
    _show_warnings()
    async with contextlib.AsyncExitStack() as stack:
        if sandbox and base_url is None:
            url, keys, requests_per_second = await _own_sandbox(stack), [SANDBOX_KEY], None
        else:
            url = checked_base_url(base_url or os.environ.get(BASE_URL_VARIABLE) or "https://nano-gpt.com")
            on_loopback = is_loopback(urlsplit(url).hostname or "")
            if sandbox and not on_loopback:
                raise ConfigurationError(
                    f"--sandbox and --base-url {url} exclude each other: that address is not on this machine.",
                    says_charge=True,
                )
            keys = _keys(on_loopback=on_loopback, paid=paid)
        if sandbox and not quiet:
            note("sandbox: images are stand-ins, nothing is charged")
        yield await stack.enter_async_context(
            AsyncClient(
                api_keys=keys,
                base_url=url,
                requests_per_second=requests_per_second,
                budget_usd=budget_usd,
                assume_price_usd=assume_price_usd,
            )
        )


async def _own_sandbox(stack: contextlib.AsyncExitStack) -> str:
    require_sandbox()
    from ..sandbox import Sandbox

    service = Sandbox(requests_per_second=None, balance_usd=_SANDBOX_BALANCE_USD, key=SANDBOX_KEY)
    return (await stack.enter_async_context(service)).url


def require_sandbox() -> None:
    """Raise ConfigurationError where the sandbox cannot draw."""
    if importlib.util.find_spec("PIL") is None:
        raise ConfigurationError(f"the sandbox draws with Pillow: {install_hint('sandbox')}.")


def api_keys(base_url: str) -> list[str]:
    """
    Return the keys of NANOGPT_API_KEYS, else the one that `open_client` uses for *base_url*.

    Raises:
        NoKeyError: There is none that can be used.
    """
    return _keys(on_loopback=is_loopback(urlsplit(base_url).hostname or ""), paid=True)


def number_of_keys() -> int:
    """Return how many keys a batch is sent with: each has a pace of its own."""
    return max(1, len(set(keys_of_environment())))


def _keys(*, on_loopback: bool, paid: bool) -> list[str]:
    variable = KEYS_VARIABLE if keys_of_environment() else KEY_VARIABLE
    try:
        found = keys_of_environment() or [os.environ.get(KEY_VARIABLE, "")]
        keys = [key for text in found if (key := checked_key(text)) is not None]
    except ConfigurationError as error:
        raise NoKeyError(f"{variable}: {error.message}") from None
    if not keys and on_loopback:
        return [SANDBOX_KEY]
    if not keys and paid:
        raise NoKeyError(
            f"there is no key. Set {KEY_VARIABLE} to use the service, or pass --sandbox to try it "
            "without key and charge."
        )
    return keys


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(f"note: {one_line(record.getMessage())}")


def _show_warnings() -> None:
    log = logging.getLogger("nanogpt_images")
    if not any(isinstance(handler, _Notes) for handler in log.handlers):
        log.addHandler(_Notes(logging.WARNING))
        log.propagate = False


def run_async(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """
    Run *main* on an event loop, uvloop's where it is installed.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM broke it off.
    """

    async def guarded() -> R:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main()

    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        # A loop that closes leaves the system's default, which ends the process without its exit code.
        signal.signal(signal.SIGTERM, on_terminate)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
