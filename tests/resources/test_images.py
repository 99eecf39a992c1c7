"""Both generation routes against the sandbox: what reaches the wire, and what comes back."""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from fakes import PNG, Clock, Reply, ScriptedTransport, connected

from nanogpt_images import (
    AsyncClient,
    BatchRow,
    BudgetExceededError,
    Charge,
    ConfigurationError,
    ConnectError,
    DownloadError,
    GenerateRequest,
    GenerationResult,
    HttpRequest,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    OutcomeUnknownError,
    OutputError,
    ParameterError,
    ResponseDecodeError,
    RetryPolicy,
    StatusError,
    TaskPendingError,
    estimate,
)
from nanogpt_images.batch.journal import SignedUrl
from nanogpt_images.sandbox import Fault

KEY = "sk-nano-test-key"
ANSWER = b'{"data":[{"b64_json":"iVBORw0KGgo="}]}'


def scripted(*script: Reply | Exception, **options: object) -> tuple[AsyncClient, ScriptedTransport]:
    transport = ScriptedTransport(*script)
    return AsyncClient(KEY, "http://localhost", transport=transport, **options), transport


def sent(request: HttpRequest) -> tuple[str, str, dict]:
    return request.method, request.url, json.loads(request.body or b"null")


async def test_every_field_of_the_normalized_route_reaches_the_wire() -> None:
    """Each documented field is sent under its documented name, and those left out are not sent."""
    client, transport = scripted(Reply(200, ANSWER), Reply(200, ANSWER))
    await client.images.generate(
        "a red fox \U0001f98a",
        model="krea-v2/turbo",
        n=2,
        resolution="1k",
        aspect_ratio="16:9",
        quality="high",
        output_format="webp",
        seed=0,
        input_references=["https://example.org/a.png", PNG],
        extra={"rendering_speed": "TURBO", "n": 9, "showExplicitContent": False},
        validate=False,
    )
    await client.images.generate("x", model="m", validate=False)
    full, least = map(sent, transport.requests)
    assert least == ("POST", "http://localhost/api/v1/images", {"model": "m", "prompt": "x"})
    assert full[:2] == least[:2]
    first, second = full[2].pop("input_references")
    assert first == {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert second["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert full[2] == {
        "model": "krea-v2/turbo",
        "prompt": "a red fox \U0001f98a",
        "n": 2,
        "resolution": "1k",
        "aspect_ratio": "16:9",
        "quality": "high",
        "output_format": "webp",
        "seed": 0,
        "rendering_speed": "TURBO",
        "showExplicitContent": False,
    }


async def test_every_field_of_the_openai_route_reaches_the_wire() -> None:
    """The OpenAI-compatible route uses its own names, and all images are data URLs."""
    client, transport = scripted(*[Reply(200, ANSWER)] * 3)
    await client.images.generate_openai(
        "a red fox",
        model="flux-kontext",
        n=1,
        size="1024x1024",
        response_format="url",
        user="u-1",
        image_data_urls=[PNG, PNG],
        mask_data_url=PNG,
        strength=0.0,
        guidance_scale=7.5,
        num_inference_steps=30,
        seed=42,
        kontext_max_mode=False,
        extra={"future": [1]},
        validate=False,
    )
    await client.images.generate_openai("a red fox", image_data_url=PNG, validate=False)
    await client.images.generate_openai("x", validate=False)
    full, single, least = (sent(request)[2] for request in transport.requests)
    assert {request.url for request in transport.requests} == {"http://localhost/v1/images/generations"}
    assert least == {"model": "hidream", "prompt": "x"}
    assert single.keys() == {"model", "prompt", "imageDataUrl"}
    data_url = single["imageDataUrl"]
    assert data_url.startswith("data:image/png;base64,iVBOR")
    assert full == {
        "model": "flux-kontext",
        "prompt": "a red fox",
        "n": 1,
        "size": "1024x1024",
        "response_format": "url",
        "user": "u-1",
        "imageDataUrls": [data_url, data_url],
        "maskDataUrl": data_url,
        "strength": 0.0,
        "guidance_scale": 7.5,
        "num_inference_steps": 30,
        "seed": 42,
        "kontext_max_mode": False,
        "future": [1],
    }


async def test_headers_of_a_paid_request() -> None:
    """A paid request carries the key and asks for an uncompressed answer; nothing of it is in its repr."""
    client, transport = scripted(Reply(200, ANSWER))
    await client.images.generate("x", model="m", validate=False)
    (request,) = transport.requests
    assert request.paid
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert KEY not in repr(request)


async def test_a_resolution_is_sent_as_the_model_lists_it() -> None:
    """A resolution in another spelling goes out in the listed one."""
    async with connected() as (client, sandbox):
        await client.images.generate("x", model="star-sizes", resolution="1024x1024")
        await client.images.generate_openai("x", model="star-sizes", size="1024x1024")
    # The sandbox refuses every token that it does not list.
    assert [entry.billed for entry in sandbox.ledger.entries] == [True, True]


async def test_a_fixed_count_model_is_sent_no_n() -> None:
    """A model with a fixed image count yields its images without n."""
    async with connected() as (client, sandbox):
        result = await client.images.generate("x", model="midjourney-like/grid")
    assert [image.index for image in result.images] == [0, 1, 2, 3]
    assert (result.asked, result.missing, result.problems) == (4, 0, ())
    assert sandbox.ledger.entries[0].n is None


@pytest.mark.parametrize(
    ("fault", "count", "missing", "problem"),
    [
        ("fewer_images", 1, 1, "1 images came where 2 were asked for"),
        ("more_images", 3, 0, "3 images came where 2 were asked for"),
        ("null_entries", 2, 0, None),
        ("null_fields", 2, 0, None),
        ("unknown_fields", 2, 0, None),
        ("data_last", 2, 0, None),
        ("wrong_content_type", 2, 0, None),
        ("reset_at_end", 2, 0, None),
        ("not_an_image", 2, 0, "image 0 is of no known format"),
        ("huge_dimensions", 2, 0, None),
    ],
)
async def test_odd_answers_are_results(fault: str, count: int, missing: int, problem: str | None) -> None:
    """Whatever holds an image is a success; what is odd about it is told in `problems`."""
    async with connected(Fault(fault)) as (client, _):
        result = await client.images.generate("x", model="tiny-and-fast", n=2)
    assert len(result.images) == count
    assert all(image.data for image in result.images)
    assert (result.asked, result.missing) == (2, missing)
    assert (problem in result.problems) if problem else result.problems == ()


@pytest.mark.parametrize(
    ("fault", "cost_usd", "balance", "source"),
    [
        (None, 0.0001, 99.9999, "USD"),
        ("decimal_string_money", 0.0001, 99.9999, "USD"),
        ("header_money", 0.0001, 99.9999, "USD"),
        ("other_currency", None, 99.9999, "XNO"),
        ("nano_money", None, None, "XNO"),
        ("no_money", None, None, "USD"),
        ("null_fields", None, None, None),
    ],
)
async def test_money_is_read_from_wherever_it_stands(
    fault: str | None, cost_usd: float | None, balance: float | None, source: str | None
) -> None:
    """Cost and balance come as numbers, text or headers, or not at all."""
    async with connected(*([Fault(fault)] if fault else [])) as (client, _):
        result = await client.images.generate("x", model="tiny-and-fast")
    assert (result.cost_usd, result.remaining_balance, result.payment_source) == (cost_usd, balance, source)


async def test_created_may_be_in_milliseconds() -> None:
    """`created` is the same moment in seconds and in milliseconds."""
    async with connected(Fault("millisecond_created", times=1), sandbox={"clock": lambda: 1.79e9}) as (
        client,
        _,
    ):
        times = [(await client.images.generate("x", model="tiny-and-fast")).created for _ in range(2)]
    assert times[0] == times[1]
    assert times[0] is not None
    assert times[0].timestamp() == 1.79e9


@pytest.mark.parametrize("fault", ["zero_images", "missing_data", "garbage_base64", "truncated_base64"])
async def test_an_answer_without_an_image_is_an_error_that_was_charged(fault: str) -> None:
    """A success without a usable image says that it was charged, and is not sent again."""
    async with connected(Fault(fault)) as (client, sandbox):
        with pytest.raises(ResponseDecodeError) as caught:
            await client.images.generate("x", model="tiny-and-fast")
    assert caught.value.charge is Charge.CHARGED
    assert caught.value.status == 200
    assert caught.value.json_path in ("$.data", "$.data[0].b64_json")
    assert caught.value.request_id == sandbox.ledger.entries[0].request_id
    assert "It was charged" in str(caught.value)
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("cost", [None, 0.25])
@pytest.mark.parametrize(
    "body",
    [
        {"task_id": "t-1"},
        {"taskId": "t-1", "data": []},
        {"data": {"task_id": "t-1"}},
        {"data": [{"taskId": "t-1"}]},
    ],
)
async def test_a_task_instead_of_images_carries_its_id(body: dict[str, object], cost: float | None) -> None:
    """An answer with the ID of a task is an error of its own; unless a cost is stated, nobody knows whether it was charged."""
    client, transport = scripted(Reply(200, json.dumps(body | {"cost": cost}).encode()))
    with pytest.raises(TaskPendingError, match="task 't-1'") as caught:
        await client.images.generate("x", model="midjourney", validate=False)
    assert caught.value.task_id == "t-1"
    assert caught.value.charge is (Charge.UNKNOWN if cost is None else Charge.CHARGED)
    assert len(transport.requests) == 1


async def test_a_task_beside_images_is_a_detail() -> None:
    """Where images came, the ID of their task is in `extra`."""
    client, _ = scripted(Reply(200, ANSWER[:-1] + b',"task_id":"t-1"}'))
    result = await client.images.generate("x", model="midjourney", validate=False)
    assert (len(result.images), result.extra) == (1, {"task_id": "t-1"})


async def test_an_event_stream_says_what_it_is() -> None:
    """Server-sent events are not read: the error says so, names the request, and leaves the charge open."""
    async with connected(Fault("event_stream")) as (client, sandbox):
        with pytest.raises(ResponseDecodeError, match="server-sent events") as caught:
            await client.images.generate("x", model="tiny-and-fast")
    assert caught.value.charge is Charge.UNKNOWN
    assert caught.value.excerpt.startswith("event: image_generation.in_progress")
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("stream", [True, 1, "true", {"partial_images": 2}])
async def test_a_stream_is_refused_before_it_is_sent(validate: bool, stream: object) -> None:
    """`stream` in `extra` stops a request on both routes, checked or not; `stream: false` is what happens anyway."""
    async with connected() as (client, sandbox):
        for call in (client.images.generate, client.images.generate_openai):
            with pytest.raises(ParameterError, match=r"stream is not supported.*Nothing was sent") as caught:
                await call("x", model="tiny-and-fast", extra={"stream": stream}, validate=validate)
            assert caught.value.parameter == "stream"
        assert sandbox.ledger.posts == []
        await client.images.generate("x", model="tiny-and-fast", extra={"stream": False}, validate=validate)


async def test_a_page_of_html_leaves_the_charge_open() -> None:
    """A captive portal's page in place of an answer tells nothing about money."""
    async with connected(Fault("html_200")) as (client, sandbox):
        with pytest.raises(ResponseDecodeError) as caught:
            await client.images.generate("x", model="tiny-and-fast")
    assert caught.value.charge is Charge.UNKNOWN
    assert caught.value.excerpt.startswith("<!DOCTYPE html")
    assert len(sandbox.ledger.posts) == 1


TWO = b'{"data":[{"b64_json":"iVBORw0KGgo="},{"b64_json":"iVBO'


@pytest.mark.parametrize(
    ("reply", "error_type", "charge"),
    [
        (
            Reply(200, [TWO], breaks=OutcomeUnknownError("broke", charge=Charge.UNKNOWN)),
            OutcomeUnknownError,
            Charge.UNKNOWN,
        ),
        (Reply(200, TWO), ResponseDecodeError, Charge.CHARGED),
        (Reply(200, TWO + b'*"}],'), ResponseDecodeError, Charge.CHARGED),
    ],
)
async def test_images_that_arrived_whole_are_kept(
    tmp_path: Path, reply: Reply, error_type: type, charge: Charge
) -> None:
    """When an answer breaks off, what came before is in `partial`, in memory or as a file."""
    client, _ = scripted(reply, reply)
    in_memory = client.images.generate("x", model="m", n=2, validate=False)
    in_files = client.images.generate_to(tmp_path, "x", model="m", n=2, name="fox", validate=False)
    for call in (in_memory, in_files):
        with pytest.raises(error_type) as caught:
            await call
        assert caught.value.charge is charge
        partial = caught.value.partial
        assert [image.index for image in partial.images] == [0]
        assert (partial.asked, partial.missing) == (2, 1)
        assert await partial.images[0].read() == b"\x89PNG\r\n\x1a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]


GOOD = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(13)).decode()
FAULTS = {
    "": "empty",
    "!!!!": "alphabet",
    "iVBO*": "alphabet",
    "A" * 44: "larger than 32 bytes",
    "iVBOR": "incomplete",
}


@pytest.mark.parametrize("broken", FAULTS)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_broken_image_leaves_the_good_ones(tmp_path: Path, place: int, broken: str) -> None:
    """A broken image, wherever it stands, takes no other along: the rest is kept, and a problem names its index."""
    texts = [broken if index == place else GOOD for index in range(3)]
    body = json.dumps({"data": [{"b64_json": text} for text in texts], "cost": 0.3}).encode()
    client, _ = scripted(Reply(200, body), Reply(200, body), max_image_bytes=32)
    results = [
        await client.images.generate("x", model="m", n=3, validate=False),
        await client.images.generate_to(tmp_path, "x", model="m", n=3, name="fox", validate=False),
    ]
    kept = [index for index in range(3) if index != place]
    for result in results:
        assert [image.index for image in result.images] == kept
        assert [await image.read() for image in result.images] == [base64.b64decode(GOOD)] * 2
        assert (result.missing, result.cost_usd) == (1, 0.3)
        (problem,) = [text for text in result.problems if "cannot be used" in text]
        assert problem.startswith(f"image {place} cannot be used")
        assert FAULTS[broken] in problem
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"fox-{index}.png" for index in kept]


async def test_a_broken_image_is_named_in_a_partial_result_too() -> None:
    """An answer that breaks off after a good and a broken image keeps the one and names the other."""
    body = b'{"data":[{"b64_json":"!"},{"b64_json":"%b"},' % GOOD.encode()
    client, _ = scripted(Reply(200, [body], breaks=OutcomeUnknownError("broke", charge=Charge.UNKNOWN)))
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.images.generate("x", model="m", n=3, validate=False)
    partial = caught.value.partial
    assert isinstance(partial, GenerationResult)
    assert [image.index for image in partial.images] == [1]
    assert any(problem.startswith("image 0 cannot be used") for problem in partial.problems)


@pytest.mark.parametrize(
    "entry",
    [
        {"url": f"data:image/png;base64,{GOOD}"},
        {"url": f"data:image/png;base64,{GOOD}", "b64_json": None},
        {"url": "data:image/svg+xml,%3Csvg/%3E"},
        {"b64_json": f"data:image/png;base64,{GOOD.rstrip('=')}"},
        {"b64_json": "", "url": f"data:image/png;base64,{GOOD}"},
        {"b64_json": "*", "url": "data:;base64," + base64.urlsafe_b64encode(b"\xfb\xef\xff" * 5).decode()},
    ],
)
async def test_an_image_behind_data_arrives(tmp_path: Path, entry: dict[str, object]) -> None:
    """A data URL in either field is an image like any other, in memory and on disk, and no text repeats it."""
    body = json.dumps({"data": [entry]}).encode()
    client, _ = scripted(Reply(200, body), Reply(200, body))
    one = await client.images.generate_openai("x", model="m", response_format="url", validate=False)
    (image,) = one.images
    assert (image.url, one.missing) == (None, 0)
    assert image.data in (base64.b64decode(GOOD), b"<svg/>", b"\xfb\xef\xff" * 5)
    assert not [problem for problem in one.problems if "cannot be used" in problem]
    (saved,) = (await client.images.generate_to(tmp_path, "x", model="m", validate=False)).images
    assert await saved.read() == image.data


async def test_no_text_holds_a_long_url() -> None:
    """The `repr` of a result, and the errors of its download, hold at most 200 characters of its URL."""
    url = f"https://files.example/{'x' * 5000}.png?sig={'y' * 5000}"
    client, _ = scripted(
        Reply(200, json.dumps({"data": [{"url": url}]}).encode()),
        Reply(400, json.dumps({"error": f"cannot read data:image/png;base64,{GOOD * 20} at all"}).encode()),
        Reply(404, b""),
        retry=RetryPolicy.none(),
    )
    result = await client.images.generate_openai("x", model="m", response_format="url", validate=False)
    request = GenerateRequest(model="m", prompt="p", extra={"imageDataUrl": f"data:,{'x' * 5000}"})
    row = BatchRow("p", "m", input_references=[f"data:,{'x' * 5000}"])
    assert result.images[0].url == url
    texts = [
        repr(result),
        repr(result.images[0]),
        repr(request),
        repr(row),
        repr(SignedUrl(index=0, url=url)),
    ]
    for call in (client.images.generate("x", model="m", validate=False), result.images[0].read()):
        with pytest.raises(NanoGPTError) as caught:
            await call
        texts.append(str(caught.value))
    assert [text for text in texts if "x" * 200 in text or GOOD * 8 in text] == []
    assert "at all" in texts[-2]


async def test_an_answer_that_breaks_before_an_image_leaves_no_file(tmp_path: Path) -> None:
    """A broken answer without a whole image has no `partial`, and no temporary file stays."""
    client, _ = scripted(Reply(200, b'{"data":[{"b64_json":"iVBO'))
    with pytest.raises(ResponseDecodeError) as caught:
        await client.images.generate_to(tmp_path, "x", model="m", validate=False)
    assert caught.value.partial is None
    assert list(tmp_path.iterdir()) == []


async def test_an_image_above_the_limit_is_refused() -> None:
    """`max_image_bytes` bounds each decoded image; the error says that it was charged."""
    client, _ = scripted(Reply(200, ANSWER), max_image_bytes=7)
    with pytest.raises(ResponseDecodeError, match="7 bytes") as caught:
        await client.images.generate("x", model="m", validate=False)
    assert caught.value.charge is Charge.CHARGED


async def test_a_missing_key_stops_generation_and_nothing_else() -> None:
    """Without a key the catalogue can be read, and a generation says what to do."""
    async with connected() as (_, sandbox), AsyncClient(base_url=sandbox.url) as client:
        assert await client.catalog.list()
        with pytest.raises(ConfigurationError, match=r"NANOGPT_API_KEY.*Nothing was sent"):
            await client.images.generate("x", model="tiny-and-fast")
    assert sandbox.ledger.posts == []


# -- validation ----------------------------------------------------------------------------------------


async def test_a_fixed_count_may_be_named() -> None:
    """`n` equal to the fixed count of a model is accepted, and left out; another is refused."""
    async with connected() as (client, sandbox):
        for model, n in (("fixed-four-flat", 4), ("fixed-one", 1)):
            assert len((await client.images.generate("x", model=model, n=n)).images) == n
            with pytest.raises(ParameterError, match=f"always makes {n} images"):
                await client.images.generate("x", model=model, n=n + 1)
        assert [entry.n for entry in sandbox.ledger.entries] == [None, None]


async def test_a_prompt_may_be_left_out_beside_images(tmp_path: Path) -> None:
    """A model that takes only images is used without a prompt, by call and by batch, and none is sent."""
    rows = [
        {"model": "Upscaler", "input_references": ["https://e.org/a.png"]},
        BatchRow("", "Upscaler", image_url="https://e.org/b.png"),
    ]
    async with connected() as (client, sandbox):
        await client.images.generate(model="Upscaler", input_references=[PNG])
        await client.images.generate_to(tmp_path, model="Upscaler", input_references=[PNG])
        report = await client.run_batch(rows, out=tmp_path / "out")
        with pytest.raises(ParameterError, match="the prompt is empty"):
            await client.images.generate(model="tiny-and-fast")
        assert [entry.prompt for entry in sandbox.ledger.entries] == [""] * 4
    assert (report.images, report.failed) == (2, 0)


async def test_what_the_model_does_not_list_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A parameter that the model does not list is sent; result, batch and estimate say so, the log once."""
    warning = "tiny-and-fast does not list style; the service may ignore it, or refuse the request."
    row = {"prompt": "x", "parameters": {"style": "noir"}}
    async with connected() as (client, _):
        with caplog.at_level(logging.WARNING, "nanogpt_images"):
            results = [
                await client.images.generate("x", model="tiny-and-fast", extra={"style": "noir"})
                for _ in range(2)
            ]
        async with client.batch([row], model="tiny-and-fast") as run:
            results += [event.result async for event in run if event.result is not None]
        plan = estimate([row, row, "plain"], await client.catalog.list(), model="tiny-and-fast")
        assert run.report.failed == 0
    assert [result.problems for result in results] == [(warning,)] * 3
    assert [record.message for record in caplog.records] == [f"{warning} (logged once)"]
    assert (plan.warnings, plan.problem_count) == ((f"{warning} (2 rows)",), 0)
    assert plan.to_json()["warnings"] == [*plan.warnings]


async def test_a_near_miss_is_an_error() -> None:
    """A name that is nearly a parameter's stops a call and a row, and the plan names it."""
    row = {"prompt": "x", "resoluton": "1024x1024"}
    async with connected() as (client, sandbox):
        with pytest.raises(
            ParameterError, match=r"'resoluton' is not a known parameter; did you mean 'resolution'\?"
        ):
            await client.images.generate("x", model="tiny-and-fast", extra={"resoluton": "1024x1024"})
        with pytest.raises(ManifestError, match="did you mean 'resolution'"):
            await client.run_batch([row], model="tiny-and-fast")
        (problem,) = estimate([row], await client.catalog.list(), model="tiny-and-fast").problems
        assert sandbox.ledger.posts == []
    assert "did you mean 'resolution'" in problem.message


@pytest.mark.parametrize("validate", [True, False])
async def test_arguments_of_the_wrong_type_are_refused(validate: bool, tmp_path: Path) -> None:
    """A list as prompt, None, or text as a seed is refused by all three calls, checked or not; nothing is sent."""
    async with connected() as (client, sandbox):
        for wrong in ({"prompt": None}, {"prompt": ["a", "b"]}, {"model": None}, {"seed": "abc"}):
            given: dict = {"prompt": "x", "model": "tiny-and-fast", "validate": validate, **wrong}
            for call in (
                client.images.generate,
                client.images.generate_openai,
                functools.partial(client.images.generate_to, tmp_path),
            ):
                with pytest.raises(ParameterError, match=r"must be .*Nothing was sent"):
                    await call(**given)
        assert sandbox.ledger.posts == []


async def test_strings_are_rows(tmp_path: Path) -> None:
    """A list of prompts with a model is a batch; one string is refused, and so is a row that is none."""
    prompts = ["a fox", "an owl"]
    async with connected() as (client, sandbox):
        report = await client.run_batch(prompts, out=tmp_path / "out", model="tiny-and-fast")
        models = await client.catalog.list()
        assert sorted(entry.prompt for entry in sandbox.ledger.entries) == prompts
        for one in ("a fox", b"fox", {"prompt": "a fox"}, BatchRow("a fox", "tiny-and-fast")):
            with pytest.raises(ParameterError, match="rows must be an iterable of rows"):
                client.batch(one, model="tiny-and-fast")
            with pytest.raises(ParameterError, match="rows must be an iterable of rows"):
                estimate(one, models)
        with pytest.raises(ManifestError, match="there is no model"):
            await client.run_batch(prompts)
        with pytest.raises(ManifestError, match="a row must be a prompt, a mapping or a BatchRow"):
            await client.run_batch([7], model="tiny-and-fast")
    assert (report.rows, report.images) == (2, 2)
    assert (
        estimate(prompts, models, model="tiny-and-fast").images,
        estimate(prompts, models).problem_count,
    ) == (2, 2)


@pytest.mark.parametrize("path", ["/api", "/v1", "/api/v1", "/api/v1/"])
async def test_addresses_for_other_sdks_work(path: str) -> None:
    """An address as the vendor documents it for other SDKs reaches all routes."""
    async with connected() as (_, sandbox), AsyncClient(sandbox.api_key, sandbox.url + path) as client:
        await client.images.generate("x", model="tiny-and-fast")
        await client.images.generate_openai("x", model="tiny-and-fast")
        assert len(sandbox.ledger.billed) == 2


async def test_a_wrong_address_is_not_an_unknown_model(tmp_path: Path) -> None:
    """A 404 of the path names the address and not the model, and stops a batch at its first requests."""
    async with connected() as (_, sandbox), AsyncClient(sandbox.api_key, f"{sandbox.url}/gateway") as client:
        for call in (client.images.generate("x", model="tiny-and-fast"), client.catalog.list()):
            with pytest.raises(
                StatusError, match=r"/gateway/api/v1/image\S* the service answered 404.*Check base_url"
            ) as caught:
                await call
            assert not isinstance(caught.value, NotFoundError)
            assert "tiny-and-fast" not in str(caught.value)
        rows = [f"fox {number}" for number in range(50)]
        report = await client.run_batch(rows, model="tiny-and-fast", out=tmp_path / "out", concurrency=2)
    assert isinstance(report.stopped, StatusError)
    assert report.failed == 0


async def test_a_cold_catalogue_is_fetched_once() -> None:
    """The first generation reads both listings; the ones after it, on any route, read nothing."""
    listing = Reply(200, b'{"data":[{"id":"m"}]}')
    client, transport = scripted(listing, listing, *[Reply(200, ANSWER)] * 3)
    for _ in range(2):
        await client.images.generate("x", model="m")
    await client.images.generate_openai("x", model="m")
    assert [request.method for request in transport.requests] == ["GET", "GET", "POST", "POST", "POST"]


async def test_validation_can_be_switched_off() -> None:
    """With validate=False no listing is read and the service decides."""
    async with connected() as (client, sandbox):
        with pytest.raises(NotFoundError) as caught:
            await client.images.generate("x", model="no-such-model", validate=False)
        assert (caught.value.charge, len(sandbox.ledger.posts)) == (Charge.REJECTED, 1)
    client, transport = scripted(Reply(200, ANSWER))
    await client.images.generate("x", model="m", n=99, validate=False)
    assert [request.method for request in transport.requests] == ["POST"]


@pytest.mark.parametrize("route", ["generate", "generate_openai"])
async def test_what_the_model_does_not_take_is_never_sent(route: str, tmp_path: Path) -> None:
    """A wrong parameter, or an unknown model with its near matches, is told before anything is sent."""
    async with connected() as (client, sandbox):
        call = getattr(client.images, route)
        with pytest.raises(ParameterError, match="what gpt-image-2 makes per request"):
            await call("x", model="gpt-image-2", n=5)
        with pytest.raises(NotFoundError, match="near matches: gpt-image-2") as caught:
            await call("x", model="gpt-imge-2")
        assert caught.value.charge is Charge.NOT_SENT
        with pytest.raises(ParameterError, match="at most 4"):
            await client.images.generate_to(
                tmp_path / "new", "x", model="restyle", input_references=[PNG] * 5
            )
    assert sandbox.ledger.posts == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_without_a_catalogue_the_request_goes_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An outage of the listings does not stop a generation; it is logged."""
    async with connected(Fault("500", route="catalog")) as (client, sandbox):
        with caplog.at_level(logging.WARNING, "nanogpt_images"):
            result = await client.images.generate("x", model="tiny-and-fast")
    assert len(result.images) == 1
    assert len(sandbox.ledger.posts) == 1
    (record,) = [record for record in caplog.records if "is sent unchecked" in record.message]
    assert record.name == "nanogpt_images"
    assert "tiny-and-fast" in record.message


@pytest.mark.parametrize(
    ("fields", "asked"),
    [({"n": 2}, 2), ({"n": 2, "extra": {"nImages": 3}}, 3), ({"extra": {"n": 4}}, 4), ({"n": "2"}, 1)],
)
async def test_the_count_that_the_service_goes_by(fields: dict, asked: int) -> None:
    """`nImages` of extra takes precedence, as documented; what is no count is left to the service."""
    client, _ = scripted(Reply(200, ANSWER))
    result = await client.images.generate("x", model="m", validate=False, **fields)
    assert (result.asked, result.missing) == (asked, asked - 1)


# -- files ---------------------------------------------------------------------------------------------


async def test_files_are_named_after_the_prompt(tmp_path: Path) -> None:
    """Without a name the file gets a few words of the prompt; JPEG bytes get the suffix of JPEG."""
    async with connected() as (client, _):
        result = await client.images.generate_to(
            tmp_path, "A red fox, under /../ stars", model="krea-v2/turbo", resolution="1k"
        )
    (path,) = tmp_path.iterdir()
    assert path == result.images[0].path
    assert re.fullmatch(r"a-red-fox-under-stars.*\.jpg", path.name)
    assert (result.images[0].media_type, result.images[0].size_bytes) == ("image/jpeg", path.stat().st_size)


@pytest.mark.parametrize("name", ["../fox", "/etc/fox", "a/b", "..", "CON", "fox\x00"])
async def test_a_name_stays_inside_the_directory(tmp_path: Path, name: str) -> None:
    """A name that would lead elsewhere is made harmless."""
    client, _ = scripted(Reply(200, ANSWER))
    result = await client.images.generate_to(tmp_path / "out", "x", model="m", name=name, validate=False)
    assert result.images[0].path.parent == tmp_path / "out"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


async def test_files_in_the_way_stop_the_call_before_it_is_paid(tmp_path: Path) -> None:
    """Without overwrite an existing file of that name is an error and nothing is sent; with it, it is replaced."""
    (tmp_path / "fox-1.png").write_bytes(b"old")
    client, transport = scripted(Reply(200, ANSWER), Reply(200, ANSWER))
    with pytest.raises(OutputError, match=r"fox-1\.png exists.*Nothing was sent") as caught:
        await client.images.generate_to(tmp_path, "x", model="m", n=2, name="fox", validate=False)
    assert caught.value.charge is Charge.NOT_SENT
    assert transport.requests == []
    for _ in range(2):
        await client.images.generate_to(tmp_path, "x", model="m", name="fox", overwrite=True, validate=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fox-1.png", "fox.png"]


async def test_a_name_of_its_own_making_is_never_in_the_way(tmp_path: Path) -> None:
    """Without a name, a second call for the same prompt adds a number and keeps the first file."""
    client, _ = scripted(Reply(200, ANSWER), Reply(200, ANSWER))
    for _ in range(2):
        await client.images.generate_to(tmp_path, "a fox", model="m", validate=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-fox.png", "a-fox_2.png"]


async def test_a_directory_that_cannot_be_made_is_told_before_the_charge(tmp_path: Path) -> None:
    """A file where the directory should be stops the call while it is free."""
    (tmp_path / "out").write_text("a file")
    client, transport = scripted(Reply(200, ANSWER))
    with pytest.raises(OutputError) as caught:
        await client.images.generate_to(tmp_path / "out", "x", model="m", validate=False)
    assert (caught.value.charge, transport.requests) == (Charge.NOT_SENT, [])


@pytest.mark.parametrize("step", ["open", "write", "link"])
async def test_a_disk_that_fails_is_told_after_the_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When a paid image cannot be written the error says that it was charged, and it is not paid for again."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    client, transport = scripted(Reply(200, ANSWER))
    monkeypatch.setattr(os, step, full)
    if step == "link":
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        await client.images.generate_to(tmp_path, "x", model="m", validate=False)
    monkeypatch.undo()
    assert caught.value.charge is Charge.CHARGED
    assert "charged" in str(caught.value)
    assert len(transport.requests) == 1
    kept = [path.read_bytes() for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert kept == ([b"\x89PNG\r\n\x1a\n"] if step == "link" else [])


@pytest.mark.parametrize("step", ["open", "write", "link"])
async def test_a_disk_that_fails_under_links_is_told_after_the_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """An image that came behind a URL, and that the disk does not take, is told as charged like any other."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    body = json.dumps({"data": [{"url": "https://files.example/1"}]}).encode()
    client, _ = scripted(Reply(200, body), Reply(200, PNG, {"Content-Length": str(len(PNG))}))
    monkeypatch.setattr(os, step, full)
    if step == "link":
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"No space left.*It was charged") as caught:
        await client.images.generate_to(tmp_path, "x", model="m", validate=False)
    monkeypatch.undo()
    assert caught.value.charge is Charge.CHARGED


async def test_links_are_downloaded_into_files(tmp_path: Path) -> None:
    """Where the normalized route answers with URLs, generate_to downloads them without the key."""
    async with connected() as (client, sandbox):
        links = await client.images.generate_openai("x", model="tiny-and-fast", n=2, response_format="url")
        body = json.dumps({"data": [{"url": image.url} for image in links.images], "cost": 0.5}).encode()
        transport = Mixed(client, Reply(200, body))
        async with AsyncClient(KEY, "http://localhost", transport=transport) as other:
            result = await other.images.generate_to(tmp_path, "x", model="m", name="fox", validate=False)
    assert [image.path.name for image in result.images] == ["fox-0.png", "fox-1.png"]
    assert [image.url for image in result.images] == [None, None]
    assert (result.images[0].width, result.cost_usd) == (64, 0.5)
    assert not any(KEY in str(visit.headers) for visit in sandbox.visits)


async def test_a_failed_download_keeps_the_link(tmp_path: Path) -> None:
    """A download that fails after the payment hands out the URLs, so that nothing has to be paid again."""
    body = b'{"data":[{"url":"http://localhost/f.png?sig=s"}],"cost":0.5}'
    client, transport = scripted(Reply(200, body), *[Reply(404, b"gone")] * 4)
    with pytest.raises(DownloadError) as caught:
        await client.images.generate_to(tmp_path, "x", model="m", validate=False)
    assert (caught.value.charge, caught.value.expired) == (Charge.CHARGED, False)
    assert caught.value.partial.images[0].url == "http://localhost/f.png?sig=s"
    assert caught.value.partial.cost_usd == 0.5
    assert list(tmp_path.iterdir()) == []
    assert [request.method for request in transport.requests] == ["POST"] + ["GET"] * 4


@pytest.mark.parametrize("alive", [True, False])
async def test_links_of_an_answer_that_broke_off_are_downloaded(tmp_path: Path, alive: bool) -> None:
    """Of an answer that is cut behind its first URL, generate_to leaves the file, or the URL, in the error's `partial`."""
    async with connected() as (client, _):
        links = await client.images.generate_openai("x", model="tiny-and-fast", n=2, response_format="url")
        url = links.images[0].url if alive else "http://127.0.0.1:9/f.png"
        body = json.dumps({"data": [{"url": url}, {"url": "https://cut"}]}).encode()
        transport = Mixed(
            client, Reply(200, body[:-12], breaks=OutcomeUnknownError("cut", charge=Charge.UNKNOWN))
        )
        async with AsyncClient(
            KEY, "http://localhost", transport=transport, retry=RetryPolicy(initial_delay_s=0)
        ) as other:
            with pytest.raises(OutcomeUnknownError) as caught:
                await other.images.generate_to(tmp_path, "x", model="m", n=2, name="fox", validate=False)
    (image,) = caught.value.partial.images
    assert [path.name for path in tmp_path.iterdir()] == (["fox.png"] if alive else [])
    assert (image.url, image.path) == ((None, tmp_path / "fox.png") if alive else (url, None))


class Mixed(ScriptedTransport):
    """POSTs follow a script, GETs go through another client's transport."""

    def __init__(self, client: AsyncClient, *script: Reply) -> None:
        super().__init__(*script)
        self._real = client._transport

    def send(self, request: HttpRequest):
        return self._real.send(request) if request.method == "GET" else super().send(request)


# -- URLs ----------------------------------------------------------------------------------------------


async def test_a_url_answer_is_not_downloaded_unasked() -> None:
    """A URL comes as it is, with no request to its host until somebody reads it."""
    async with connected() as (client, sandbox):
        result = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        assert result.images[0].url.startswith(sandbox.files_url)
        assert result.problems == ()
        assert sandbox.visits == []
        assert len(await result.images[0].read()) > 50
    assert len(sandbox.visits) == 1


async def test_bytes_in_place_of_a_url_are_a_normal_answer() -> None:
    """b64_json although url was asked for is documented, and no failure."""
    async with connected(Fault("b64_fallback")) as (client, _):
        result = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
    assert (result.images[0].url, result.images[0].media_type) == (None, "image/png")


async def test_what_an_entry_says_beside_its_image_is_kept() -> None:
    """Unknown keys of entries and of the answer are reachable in `extra`."""
    body = b'{"data":[{"b64_json":"iVBORw0KGgo=","revised_prompt":"fox"},{"url":"http://h/x","seed":7}],"usage":{"a":1}}'
    client, _ = scripted(Reply(200, body, {"X-Request-ID": "r-9"}))
    result = await client.images.generate("x", model="m", n=2, validate=False)
    assert [image.extra for image in result.images] == [{"revised_prompt": "fox"}, {"seed": 7}]
    assert result.extra == {"usage": {"a": 1}}
    assert (result.request_id, result.prompt, result.model) == ("r-9", "x", "m")


@pytest.mark.parametrize(
    "fields",
    [{"extra": {"nImages": 4}}, {"extra": {"n": 4}}, {"n": 4}, {"n": 2, "extra": {"resolution": "256x256"}}],
)
async def test_a_budget_counts_what_stands_in_extra(fields: dict) -> None:
    """Images and resolution that are asked for in `extra` are reserved for like those of the arguments."""
    async with connected(budget_usd=0.00035) as (client, sandbox):
        with pytest.raises(BudgetExceededError):
            await client.images.generate("x", model="tiny-and-fast", **fields)
        await client.images.generate("x", model="tiny-and-fast", n=3)
    assert sandbox.ledger.total_usd == pytest.approx(0.0003)


# -- attempts ------------------------------------------------------------------------------------------


async def test_a_timeout_of_the_call_goes_before_the_clients() -> None:
    """`timeout_s` of a call replaces the client's."""
    client, transport = scripted(Reply(200, ANSWER), Reply(200, ANSWER), timeout_s=11)
    await client.images.generate("x", model="m", validate=False)
    await client.images.generate("x", model="m", validate=False, timeout_s=3)
    assert [request.timeout_s for request in transport.requests] == [11, 3]


@pytest.mark.parametrize(
    ("fault", "posts", "charge"),
    [
        ("429", 2, None),
        ("503", 2, None),
        ("408", 2, None),
        ("500_not_billed", 2, None),
        ("500", 1, Charge.UNKNOWN),
        ("500_billed", 1, Charge.CHARGED),
        ("html_5xx", 1, Charge.UNKNOWN),
        ("empty_5xx", 1, Charge.UNKNOWN),
        ("502", 1, Charge.UNKNOWN),
        ("504", 1, Charge.UNKNOWN),
        ("524", 1, Charge.UNKNOWN),
        ("reset_after_body", 1, Charge.UNKNOWN),
        ("close_after_body", 1, Charge.UNKNOWN),
        ("reset_in_headers", 1, Charge.UNKNOWN),
        ("reset_in_response_body", 1, Charge.UNKNOWN),
        ("close_in_response_body", 1, Charge.UNKNOWN),
        ("reset_before_last_byte", 1, Charge.UNKNOWN),
        ("truncated_json", 1, Charge.CHARGED),
        ("429_daily", 1, Charge.REJECTED),
        ("402", 1, Charge.REJECTED),
        ("content_policy", 1, Charge.REJECTED),
        ("413", 1, Charge.REJECTED),
        ("redirect", 1, Charge.REJECTED),
    ],
)
async def test_only_what_was_not_charged_is_sent_again(fault: str, posts: int, charge: Charge | None) -> None:
    """A fault that strikes once is overcome where it certainly cost nothing, and raised otherwise."""
    async with connected(Fault(fault, times=1)) as (client, sandbox):
        # Waits are the scripted clock's: a Retry-After costs this test no time.
        client._sender._sleep = client._sender.keys.lanes[0].limiter._sleep = (clock := Clock()).sleep
        client._sender.keys.lanes[0].limiter._clock = clock
        expected = nullcontext() if charge is None else pytest.raises(NanoGPTError)
        with expected as caught:
            await client.images.generate("x", model="tiny-and-fast", validate=False)
    assert charge is None or caught.value.charge is charge
    assert len(sandbox.ledger.posts) == posts
    assert len(sandbox.ledger.billed) <= 1
    assert sandbox.visits == []


async def test_a_closed_port_is_not_sent() -> None:
    """Without a listener the error says that nothing was sent, after all attempts."""
    async with connected() as (client, sandbox):
        await client.images.generate("x", model="tiny-and-fast")
        await sandbox._stop()
        with pytest.raises(ConnectError, match="Nothing was sent") as caught:
            await client.images.generate("x", model="tiny-and-fast")
    assert caught.value.charge is Charge.NOT_SENT
