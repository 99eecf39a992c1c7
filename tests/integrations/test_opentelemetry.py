"""Spans and metrics, with the SDK's in-memory exporters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest
from fakes import connected
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

import nanogpt_images as ngi
from nanogpt_images.integrations.opentelemetry import instrument
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"


class Telemetry:
    """Providers, and what reached their exporters."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, object]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def points(self) -> Mapping[str, list]:
        """Data points by the name of the metric."""
        data = self.reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: list(metric.data.data_points) for metric in metrics}


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


async def test_a_generation_is_a_client_span(telemetry: Telemetry) -> None:
    """Name, kind and attributes are those of the conventions; the prompt is not among them."""
    async with connected() as (client, sandbox):
        instrument(client, **telemetry.providers)
        result = await client.images.generate("a private fox", model=MODEL, n=2, seed=7)
    (span,) = telemetry.spans
    assert (span.name, span.kind) == (f"generate_content {MODEL}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "nanogpt",
        "gen_ai.request.model": MODEL,
        "gen_ai.output.type": "image",
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.seed": 7,
        "gen_ai.response.id": result.request_id,
        "server.address": "127.0.0.1",
        "server.port": int(sandbox.url.rpartition(":")[2]),
        "nanogpt.images": 2,
        "nanogpt.cost_usd": result.cost_usd,
    }


async def test_prompts_are_recorded_only_on_request(telemetry: Telemetry) -> None:
    """As the conventions' input messages."""
    async with connected() as (client, _):
        instrument(client, prompts=True, **telemetry.providers)
        await client.images.generate("a fox", model=MODEL)
    (span,) = telemetry.spans
    assert json.loads(str((span.attributes or {})["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "a fox"}]}
    ]


@pytest.mark.parametrize(
    ("fault", "attributes"),
    [
        ("429_daily", {"error.type": "DailyLimitError", "nanogpt.charge": "rejected", "http.response.status_code": 429}),
        ("reset_after_body", {"error.type": "OutcomeUnknownError", "nanogpt.charge": "unknown"}),
    ],
)  # fmt: skip
async def test_a_failure_is_an_error_of_its_class(
    telemetry: Telemetry, fault: str, attributes: dict[str, object]
) -> None:
    """The span has the error's class and what is known of the money, and no text of the service."""
    async with connected(Fault(fault)) as (client, _):
        instrument(client, **telemetry.providers)
        with pytest.raises(ngi.NanoGPTError):
            await client.images.generate("a fox", model=MODEL)
    (span,) = telemetry.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert attributes.items() <= dict(span.attributes or {}).items()
    (point,) = telemetry.points()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == attributes["error.type"]


async def test_attempts_are_one_span_and_metrics_add_up(telemetry: Telemetry) -> None:
    """A repeat is within the span of its generation; time, images and cost are counted by model."""
    async with connected(Fault("500_not_billed", times=1)) as (client, sandbox):
        instrument(client, **telemetry.providers)
        for n in (1, 2):
            await client.images.generate("a fox", model=MODEL, n=n)
    assert len(telemetry.spans) == 2
    points = telemetry.points()
    (duration,) = points["gen_ai.client.operation.duration"]
    assert (duration.count, len(duration.explicit_bounds)) == (2, 14)
    assert duration.attributes["gen_ai.request.model"] == MODEL
    assert points["nanogpt.client.images"][0].value == 3
    assert points["nanogpt.client.cost"][0].value == pytest.approx(sandbox.ledger.total_usd)


async def test_spans_have_the_callers_parent_and_are_current_within(telemetry: Telemetry) -> None:
    """What is instrumented below becomes a child; afterwards the caller's span is current again."""
    seen: list[object] = []
    tracer = telemetry.tracer_provider.get_tracer("test")
    async with connected() as (client, _):
        instrument(client, **telemetry.providers)
        client.observe(lambda event: seen.append(get_current_span().get_span_context().span_id))
        with tracer.start_as_current_span("caller") as caller:
            await client.images.generate("a fox", model=MODEL)
            assert get_current_span() is caller
    generation, _ = telemetry.spans
    assert generation.parent is not None
    assert generation.parent.span_id == caller.get_span_context().span_id
    assert generation.context.span_id in seen


def test_the_blocking_client_has_the_callers_parent(telemetry: Telemetry) -> None:
    """The caller's context reaches the loop in its thread."""
    tracer = telemetry.tracer_provider.get_tracer("test")
    with Sandbox.in_thread() as sandbox, ngi.Client(sandbox.api_key, sandbox.url) as client:
        instrument(client, **telemetry.providers)
        with tracer.start_as_current_span("caller") as caller:
            client.images.generate("a fox", model=MODEL)
    generation, _ = telemetry.spans
    assert generation.parent is not None
    assert generation.parent.span_id == caller.get_span_context().span_id


async def test_it_can_be_ended(telemetry: Telemetry) -> None:
    """After the returned function is called there are no more spans."""
    async with connected() as (client, _):
        end = instrument(client, **telemetry.providers)
        end()
        await client.images.generate("a fox", model=MODEL)
    assert telemetry.spans == ()


def test_without_the_extra_it_says_what_to_install() -> None:
    """Importing the module names the extra."""
    code = "import sys; sys.modules['opentelemetry'] = None; import nanogpt_images.integrations.opentelemetry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "opentelemetry-api>=' in done.stderr
