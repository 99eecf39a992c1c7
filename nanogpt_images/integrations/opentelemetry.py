"""
Spans and metrics by OpenTelemetry's conventions for generative AI. Needs the extra `opentelemetry`.

The conventions have no operation for images yet; `generate_content` with the output type `image` comes closest.
Names that the conventions lack begin with `nanogpt`.

Source: opentelemetry.io/docs/specs/semconv/gen-ai, "client spans" and "metrics".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import Token
from typing import Final, Protocol
from urllib.parse import urlsplit

from .._base.display import install_hint
from .._version import __version__
from ..errors import NanoGPTError, StatusError
from ..events import ClientEvent, GenerationEnded, GenerationStarted, OnEvent
from ..types.request import ImageRequest, asked_count

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
except ImportError as error:
    raise ImportError(f"{error}: {install_hint('opentelemetry')}") from error

_SCOPE: Final = "nanogpt_images"
_OPERATION: Final = "generate_content"
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

_Attributes = dict[str, str | int | float]


class Observable(Protocol):
    """`AsyncClient` or `Client`."""

    @property
    def base_url(self) -> str:
        """The URL that requests are sent to."""
        ...

    def observe(self, on_event: OnEvent) -> Callable[[], None]:
        """Call *on_event* for each event; return a function that unsubscribes it."""
        ...


def instrument(
    client: Observable,
    *,
    prompts: bool = False,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> Callable[[], None]:
    """
    Record a span for each generation of *client*, and metrics of duration, images and cost.

    The span is current while the generation runs, so spans of an instrumented HTTP client become its children.

    Args:
        client: An `AsyncClient` or a `Client`.
        prompts: Record prompts as `gen_ai.input.messages`. Prompts may be private.
        tracer_provider: Replaces the global tracer provider.
        meter_provider: Replaces the global meter provider.

    Returns:
        A function that stops the instrumentation.
    """
    return client.observe(_Instrument(client.base_url, prompts, tracer_provider, meter_provider))


class _Instrument:
    def __init__(
        self,
        base_url: str,
        prompts: bool,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
    ) -> None:
        self._prompts = prompts
        self._server = _server(base_url)
        self._open: dict[int, tuple[trace.Span, Token[Context]]] = {}
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._images = meter.create_counter(
            "nanogpt.client.images", unit="{image}", description="Images received."
        )
        self._cost = meter.create_counter(
            "nanogpt.client.cost", unit="{USD}", description="Cost reported by the service."
        )

    def __call__(self, event: ClientEvent) -> None:
        if isinstance(event, GenerationStarted):
            self._start(event)
        elif isinstance(event, GenerationEnded) and (opened := self._open.pop(event.id, None)) is not None:
            span, token = opened
            context.detach(token)
            self._end(event, span)

    def _start(self, event: GenerationStarted) -> None:
        request = event.request
        attributes = {**self._common(request), "gen_ai.output.type": "image"}
        count = asked_count(request)
        if isinstance(count, int) and count != 1:
            attributes["gen_ai.request.choice.count"] = count
        if isinstance(request.seed, int):
            attributes["gen_ai.request.seed"] = request.seed
        if self._prompts:
            message = {"role": "user", "parts": [{"type": "text", "content": request.prompt}]}
            attributes["gen_ai.input.messages"] = json.dumps([message], ensure_ascii=False)
        name = f"{_OPERATION} {request.model}"
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        self._open[event.id] = span, context.attach(trace.set_span_in_context(span))

    def _end(self, event: GenerationEnded, span: trace.Span) -> None:
        common, failure = self._common(event.request), _failure(event.error)
        self._duration.record(event.duration_s, {**common, **failure})
        if (result := event.result) is not None:
            span.set_attribute("nanogpt.images", len(result.images))
            self._images.add(len(result.images), common)
            if result.request_id is not None:
                span.set_attribute("gen_ai.response.id", result.request_id)
            if result.cost_usd is not None:
                span.set_attribute("nanogpt.cost_usd", result.cost_usd)
                self._cost.add(result.cost_usd, common)
            elif result.cost is not None:
                span.set_attribute("nanogpt.cost", result.cost.amount)
                span.set_attribute("nanogpt.cost_currency", result.cost.currency)
        if failure:
            span.set_attributes(failure)
            # Without a description: the service's error text may repeat the prompt.
            span.set_status(trace.StatusCode.ERROR)
        if isinstance(event.error, StatusError):
            span.set_attribute("http.response.status_code", event.error.status)
        span.end()

    def _common(self, request: ImageRequest) -> _Attributes:
        return {
            "gen_ai.operation.name": _OPERATION,
            "gen_ai.provider.name": "nanogpt",
            "gen_ai.request.model": request.model,
            **self._server,
        }


def _server(base_url: str) -> _Attributes:
    parts = urlsplit(base_url)
    return {
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _failure(error: BaseException | None) -> _Attributes:
    if error is None:
        return {}
    kind: _Attributes = {"error.type": type(error).__name__}
    return {**kind, "nanogpt.charge": error.charge.value} if isinstance(error, NanoGPTError) else kind
