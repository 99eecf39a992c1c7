"""Which service a journal is bound to: an address, a port of this machine, or the sandbox at any port."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .options import is_loopback
from .protocol import HttpRequest, Transport

SANDBOX: Final = "sandbox"
"""The sandbox of this package, at whatever port."""

_LOOPBACK: Final = "loopback"
_IDENTITY: Final = ("/_sandbox/identity", "nanogpt_images.sandbox")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 4096


async def service_at(base_url: str, transport: Transport, *, headers: Mapping[str, str]) -> str:
    """
    Return the service at *base_url*: `sandbox`, `loopback:PORT` with the path if there is one, else the URL itself.

    What listens on loopback is asked once whether it is the sandbox; other addresses are not asked. No answer, or one
    that is not understood, means that it is not.

    Args:
        base_url: As `checked_base_url` returns it.
        transport: Sends the question.
        headers: Sent with it. Without the key: nothing is known yet of who answers.

    Raises:
        ConfigurationError: The transport cannot be used here.
    """
    parts = urlsplit(base_url)
    if not is_loopback(parts.hostname or ""):
        return base_url
    if await _is_sandbox(base_url, transport, headers):
        return SANDBOX
    return f"{_LOOPBACK}:{parts.port or _DEFAULT_PORTS[parts.scheme]}{parts.path}"


def may_replace(bound: str, service: str) -> bool:
    """Return whether a journal bound to *bound* by an earlier version, which told no ports apart, can be of *service*."""
    return bound == _LOOPBACK and (service == SANDBOX or service.startswith(f"{_LOOPBACK}:"))


async def _is_sandbox(base_url: str, transport: Transport, headers: Mapping[str, str]) -> bool:
    path, name = _IDENTITY
    request = HttpRequest(method="GET", url=f"{base_url}{path}", headers=headers, timeout_s=_TIMEOUT_S)
    body = bytearray()
    try:
        async with transport.send(request) as response:
            if response.status != 200:
                return False
            async for chunk in response.chunks():
                body += chunk
                if len(body) > _MAX_BYTES:
                    return False
        answer = json.loads(body)
    except ConfigurationError:
        raise
    except Exception:
        # Whatever went wrong, the paid requests will say so better: a question must not stop a batch.
        return False
    return isinstance(answer, dict) and cast("dict[str, object]", answer).get("name") == name
