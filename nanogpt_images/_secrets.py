"""Keep the key out of what people and programs show: reprs, and texts that repeat what a service echoes."""

from __future__ import annotations

from typing import Final

# A shorter text is no secret, and would be found by chance.
_LEAST_CHARACTERS: Final = 8
_MARK: Final = "[redacted]"


class Secret(str):
    """
    Text whose repr does not show it.

    Tracebacks with local variables, debuggers and error trackers print reprs, also those of the HTTP client's
    own frames.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MARK)


class Redactor:
    """
    Replaces one secret.

    Args:
        secret: None, or a text too short to be one, replaces nothing.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = Secret(secret) if secret and len(secret) >= _LEAST_CHARACTERS else None

    def body(self, body: bytes | bytearray) -> bytes:
        """*body* without the secret, for decoding: what a service echoes shows up in no field."""
        return bytes(body if self._secret is None else body.replace(self._secret.encode(), _MARK.encode()))

    def text(self, text: str) -> str:
        """*text* without the secret."""
        return text if self._secret is None else text.replace(self._secret, _MARK)

    def error(self, error: BaseException) -> None:
        """Replace the secret in the texts of *error* and of what it was caused by."""
        link: BaseException | None = error
        seen: list[BaseException] = []
        while link is not None and link not in seen and self._secret is not None:
            seen.append(link)
            link.args = tuple([self._clean(value) for value in link.args])
            for name, value in vars(link).items():
                if (clean := self._clean(value)) is not value:
                    setattr(link, name, clean)
            link = link.__cause__

    def _clean(self, value: object) -> object:
        if self._secret is None or not isinstance(value, str) or self._secret not in value:
            return value
        return self.text(value)
