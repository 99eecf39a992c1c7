"""What one image costs, by resolution."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import attrs

_SIZE = re.compile(r"(\d+)\s*[x*\u00d7]\s*(\d+)")


@functools.lru_cache(maxsize=4096)
def normalise_token(token: str) -> str:
    """
    The spelling by which resolutions are compared: `1024*1024`, `1024X1024` and `1024x1024` are one.

    Only for comparison; a request carries the token as the catalogue lists it.
    """
    text = token.strip().lower()
    size = _SIZE.fullmatch(text)
    return f"{size[1]}x{size[2]}" if size else text


@attrs.frozen
class PriceTable:
    """
    Public prices of a model.

    Attributes:
        per_image: USD per image by resolution token, tokens as the catalogue spells them.
        flat_usd: USD per image where the catalogue gives one price for all resolutions.
        currency: `USD`, unless the catalogue says otherwise.

    Source: seeds/image-models.txt, `pricing`; seeds/images-model-endpoints.txt, `pricing`.
    """

    per_image: Mapping[str, float] = attrs.field(factory=dict[str, float])
    flat_usd: float | None = None
    currency: str = "USD"
    _by_token: dict[str, float] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        table: dict[str, float] = {}
        for spelling, usd in self.per_image.items():
            token = normalise_token(spelling)
            # Two spellings of one size at two prices: a budget must count with the dearer one.
            table[token] = max(usd, table.get(token, usd))
        object.__setattr__(self, "_by_token", table)

    def __bool__(self) -> bool:
        return bool(self.per_image) or self.flat_usd is not None

    def lookup(self, resolution: str | None) -> float | None:
        """USD per image at *resolution* when the table states it, else None."""
        if resolution is not None and (usd := self._by_token.get(normalise_token(resolution))) is not None:
            return usd
        return self.flat_usd

    def bounds(self, resolution: str | None) -> tuple[float, float] | None:
        """
        Lowest and highest USD per image that *resolution* can cost.

        The two are equal where the table states the resolution; otherwise they span the whole table.
        None where no price is known at all.
        """
        if (usd := self.lookup(resolution)) is not None:
            return usd, usd
        if not self.per_image:
            return None
        return min(self.per_image.values()), max(self.per_image.values())
