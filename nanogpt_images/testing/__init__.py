"""
Test helpers for code that uses this package: a pytest plugin, ledger assertions, recorded exchanges.

The plugin loads with pytest (entry point `nanogpt_images`), so this module imports a name only when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .billing import assert_billed as assert_billed
    from .cassette import Cassette as Cassette
    from .recording import RecordingTransport as RecordingTransport
    from .recording import ReplayTransport as ReplayTransport
    from .recording import UnexpectedRequestError as UnexpectedRequestError
    from .unpooled import UnpooledTransport as UnpooledTransport

__all__ = [
    "Cassette",
    "RecordingTransport",
    "ReplayTransport",
    "UnexpectedRequestError",
    "UnpooledTransport",
    "assert_billed",
]

_MODULE_OF = {
    "Cassette": "cassette",
    "RecordingTransport": "recording",
    "ReplayTransport": "recording",
    "UnexpectedRequestError": "recording",
    "UnpooledTransport": "unpooled",
    "assert_billed": "billing",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
