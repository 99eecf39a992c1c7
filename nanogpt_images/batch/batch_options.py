"""The options of a batch: checked once, then handed on as one value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from ..errors import ConfigurationError, ParameterError
from ..money.nano import to_nano

DEFAULT_AT_ONCE: Final = 64
"""Requests at once where neither a number is given nor a pace says how many are needed."""
_MIN_PATIENCE: Final = 8


@attrs.frozen(kw_only=True)
class BatchOptions:
    """
    How a batch is run; `AsyncClient.batch` says what each option means.

    Attributes:
        retry_unknown: Without rows: also send what was, or may have been, charged.
        picked: Without rows: send only what this file of a gallery marks, whatever was paid for it.

    Raises:
        ParameterError: A number is out of range.
        ConfigurationError: An option needs the directory of a journal.
    """

    out: Path | None = None
    concurrency: int | None = None
    budget_usd: float | None = None
    key_budget_usd: float | None = None
    assume_price_usd: float | None = None
    model: str | None = None
    defaults: Mapping[str, object] = attrs.field(factory=dict[str, object])
    validate: bool = True
    join: bool = False
    adopt: bool = False
    provenance: bool = False
    images_url: str | None = None
    keep_going: bool = False
    retry_unknown: bool = False
    picked: Path | None = None
    progress: bool = False
    reuse: Path | None = None

    def __attrs_post_init__(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise ParameterError(
                f"concurrency must be at least 1, not {self.concurrency}.", parameter="concurrency"
            )
        for name, cap_usd in (("budget_usd", self.budget_usd), ("key_budget_usd", self.key_budget_usd)):
            if cap_usd is not None and not cap_usd >= 0:
                raise ParameterError(f"{name} must be 0 or more, not {cap_usd}.", parameter=name)
        if self.key_budget_usd is not None and self.out is None:
            raise ConfigurationError("a budget for each key needs the directory of a journal: pass out=.")
        if self.provenance and self.out is None:
            raise ParameterError("provenance is written into files: pass out=.", parameter="provenance")
        if self.images_url is not None and self.out is None:
            raise ConfigurationError("images at a URL need the directory of a journal: pass out=.")
        if self.images_url is not None and self.reuse is not None:
            raise ConfigurationError(
                "reuse= copies files, and images_url= leaves none here: pass one of them."
            )

    @property
    def cap_nano(self) -> int | None:
        """The budget in nano-USD; None without one."""
        return None if self.budget_usd is None else to_nano(self.budget_usd)

    @property
    def patience(self) -> int:
        """How many requests in a row may fail for a reason that is not their own before the batch stops."""
        return max(_MIN_PATIENCE, self.concurrency or DEFAULT_AT_ONCE)
