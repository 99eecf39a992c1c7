"""The state that all requests to a sandbox share."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .billing.account import Account
from .billing.quotas import Limiter
from .catalog.definitions import SandboxModel
from .catalog.registry import built_in_models
from .drawing.pool import DrawingPool
from .faults.bodies import FaultContext
from .faults.rules import Fault, FaultPicker
from .http.urls import SignedUrls
from .ledger import Ledger
from .settings import SandboxOptions


class Service:
    """The state of a sandbox; used by its event loop alone."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.ledger = Ledger()
        self.limiter = Limiter(options)
        self.account = Account(options.balance_usd)
        self.drawing_pool = DrawingPool(image_bytes=options.image_bytes)
        self.urls = SignedUrls(seed=options.seed, ttl_s=options.url_ttl_s, clock=options.clock)
        self.faults = FaultPicker(options.faults, options.seed)
        # Latencies and fallbacks, no secrets.
        self.random = random.Random(options.seed)  # noqa: S311
        self.pages: dict[str, bytes] = {}
        self.set_models(built_in_models() if options.models is None else options.models)

    def set_models(self, models: Sequence[SandboxModel]) -> None:
        """Replace the catalogue by *models*."""
        self.models = {model.id: model for model in models}
        self.pages.clear()

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the fault rules by *faults*."""
        self.faults = FaultPicker(faults, self.options.seed)

    def reset(self) -> None:
        """Clear the ledger, counters and balances and restart the random draws; keep models, faults and URLs."""
        self.ledger.clear()
        self.limiter.clear()
        self.account.clear()
        self.faults.clear()
        self.urls.visits.clear()
        self.random.seed(self.options.seed)

    def latency_s(self) -> float:
        """Return the seconds that the next generation takes."""
        latency = self.options.latency_s
        return self.random.uniform(*latency) if isinstance(latency, tuple) else latency

    def context(self, path: str, *, model_id: str | None = None, required_usd: float = 0.0) -> FaultContext:
        """Collect the facts that the answers of faults are made from."""
        return FaultContext(
            limiter=self.limiter,
            second_origin=self.urls.origin,
            path=path,
            model_id=model_id,
            required_usd=required_usd,
            now=self.options.clock(),
        )
