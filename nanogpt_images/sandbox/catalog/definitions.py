"""The definition of a sandbox model: both listings and the request checks derive from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Literal

import attrs

ImageFormat = Literal["png", "jpeg", "webp"]
Listing = Literal["image-models", "images/models"]
BOTH: frozenset[Listing] = frozenset({"image-models", "images/models"})


@attrs.frozen(kw_only=True)
class SandboxModel:
    """
    One model of the stand-in service.

    Args:
        id: Model ID; may contain slashes, colons and dots.
        name: Display name; not unique, may end in a space.
        owner: Provider label.
        resolutions: Tokens offered, exactly as listed; empty accepts any.
        aspect_ratios: Aspect ratios offered; empty accepts any.
        qualities: Quality tiers offered; empty accepts any.
        output_formats: Formats a request may ask for; empty ignores the field.
        default_format: Format of the images if the request names none.
        images_min: Minimum number of images per request.
        images_max: Maximum number of images per request.
        fixed_image_count: Images per request for models that take no `n`.
        prices_usd: Price key as listed → USD per image; empty lists no prices.
        unlisted_price_usd: USD per image if no price is listed, nor stated by the endpoint metadata.
        tiers_usd: Value of `rendering_speed` → price key → USD per image; the first tier is the default.
        add_ons_usd: Name of a field → price key → additional USD per image, for requests that send the field.
        endpoint_prices_usd: Price key → USD per image, listed by the endpoint metadata alone; of two prices, the dearer is
            charged.
        request_usd: USD per request on top; listed by the endpoint metadata alone.
        megapixel_usd: USD per megapixel begun, of each image, on top; listed by the endpoint metadata alone.
        options_usd: Name of a field → USD per image on top, for requests that send it; listed as bare numbers.
        unlisted_fields: Whether `width`, `height`, `scale` and `num_images`, which no listing names, are read: each
            multiplies the cost.
        input_image_usd: USD per input image of a request; only the endpoint metadata list it.
        references_max: Maximum number of input images.
        references_required: Whether a request without an input image is refused.
        masks: Whether the model is for inpainting.
        prompt_required: Whether a request without a prompt is refused.
        prompt_max: Maximum length of a prompt, in UTF-16 code units.
        flat: Whether `/images/models` shows flat values, as the live service does, instead of descriptors.
        listed_in: The listings that show the model.
        money_as_text: Whether prices are written as decimal strings.
        extra_parameters: Merged into `supported_parameters` of every listing, unchanged.
        extra_fields: Merged into the entry of every listing, unchanged.
    """

    id: str
    name: str
    owner: str
    description: str = "A model of the sandbox."
    created: int = 1_760_000_000
    resolutions: tuple[str, ...] = ("1024x1024",)
    aspect_ratios: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    output_formats: tuple[ImageFormat, ...] = ()
    default_format: ImageFormat = "png"
    images_min: int = 1
    images_max: int = 1
    fixed_image_count: int | None = None
    prices_usd: Mapping[str, float] = attrs.field(factory=dict[str, float])
    unlisted_price_usd: float = 0.01
    tiers_usd: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict[str, Mapping[str, float]])
    add_ons_usd: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict[str, Mapping[str, float]])
    endpoint_prices_usd: Mapping[str, float] = attrs.field(factory=dict[str, float])
    request_usd: float = 0.0
    megapixel_usd: float = 0.0
    options_usd: Mapping[str, float] = attrs.field(factory=dict[str, float])
    unlisted_fields: bool = False
    input_image_usd: float = 0.0
    references_max: int = 0
    references_required: bool = False
    masks: bool = False
    prompt_required: bool = True
    prompt_max: int | None = None
    flat: bool = False
    listed_in: frozenset[Listing] = BOTH
    money_as_text: bool = False
    extra_parameters: Mapping[str, object] = attrs.field(factory=dict[str, object])
    extra_fields: Mapping[str, object] = attrs.field(factory=dict[str, object])

    @property
    def default_images(self) -> int:
        """Images drawn when the request names no count."""
        return self.fixed_image_count or self.images_min

    def price_usd(self, resolution: str, *, tier: str | None = None, add_ons: Iterable[str] = ()) -> float:
        """
        Return USD per image at *resolution*, in *tier* and with *add_ons*, without charges by request or megapixel.

        Each table gives the price of the resolution, else of `auto`, else its highest price. Of a price in the listing and
        one in the endpoint metadata, the dearer counts; where neither states any, it is `unlisted_price_usd`.
        """
        tier = tier or next(iter(self.tiers_usd), None)
        table = self.prices_usd if tier is None else self.tiers_usd[tier]
        extra = (_listed(self.add_ons_usd.get(name, {}), resolution) for name in add_ons)
        options = (self.options_usd.get(name, 0.0) for name in add_ons)
        if tier is None:
            table = _dearer(table, self.endpoint_prices_usd)
        listed = _listed(table, resolution) if table else self.unlisted_price_usd
        return listed + sum(extra) + sum(options)


def _dearer(*tables: Mapping[str, float]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for key, price in itertools.chain.from_iterable(table.items() for table in tables):
        size = key.replace("*", "x")
        merged[size] = max(price, merged.get(size, 0.0))
    return merged


def _listed(table: Mapping[str, float], resolution: str) -> float:
    prices = _dearer(table)
    fallback = max(prices.values(), default=0.0)
    return prices.get(resolution.replace("*", "x"), prices.get("auto", fallback))
