"""An answer of success, streamed: images go to their store as they arrive, the small rest is decoded."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import cast

import attrs

from .._base.display import shown
from .._base.logs import get_logger
from ..errors import Charge, OutputError, ResponseDecodeError, TaskPendingError, TransportError
from ..outputs import ImageStore, ReceivedImage, finished
from ..transport.protocol import HttpResponse
from ..transport.secrets import NO_SECRET, Redactor
from ..wire.answers import Answer, decode_answer
from ..wire.b64stream import ImageStream, StreamDecodeError
from ..wire.beginning import beginning

_log = get_logger()


@attrs.frozen(kw_only=True)
class Received:
    """
    What an answer brought.

    Attributes:
        answer: Its facts.
        stored: The images whose bytes were in it.
        problem: Why it did not end, where all of its images came all the same.
    """

    answer: Answer
    stored: tuple[ReceivedImage, ...]
    problem: str | None = None


async def receive(
    response: HttpResponse,
    store: ImageStore,
    *,
    model: str,
    max_image_bytes: int,
    redact: Redactor = NO_SECRET,
    expected: int | None = None,
) -> Received:
    """
    Read the answer of a paid request.

    An answer that breaks off behind its last image is a success with a problem: to ask again would pay again for
    what is there. Where the reader is cancelled, the store finishes the images that came whole.

    Args:
        response: An answer of success.
        store: Takes the images.
        model: For the text of errors.
        max_image_bytes: Greatest size of one decoded image.
        redact: Replaces the key in what stands beside the images.
        expected: How many images the request makes; None where that is not known.

    Raises:
        ResponseDecodeError: No image, or not the documented body; `partial` has what came whole.
        TransportError: The connection broke, or time ran out; likewise.
        OutputError: The store cannot take the images.
    """
    open_image = functools.partial(store.open, request_id=response.headers.get("X-Request-ID"))
    stream = ImageStream(open_image, max_image_bytes=max_image_bytes)
    try:
        async for chunk in response.chunks():
            stream.feed(chunk)
        rest = redact.body(stream.close())
        answer = decode_answer(rest, response.headers, stream.sizes, stream.broken)
        _write_data(answer, store)
        whole = [entry.index for entry in answer.entries if entry.url is None]
    except (StreamDecodeError, ValueError, RecursionError) as error:
        redact.error(error)
        failure = await _undecodable(response, stream, store, error, model, redact=redact)
        if (received := _all_came(failure, expected)) is not None:
            return received
        raise failure from error
    except OutputError as error:
        store.discard()
        raise _unwritten(error, response, model, None) from error
    except TransportError as error:
        error.partial = await _salvage(response, stream, store, model, redact)
        if (received := _all_came(error, expected)) is not None:
            return received
        raise
    except BaseException:
        _keep_whole(response, stream, store, redact)
        raise
    if not answer.entries:
        store.discard()
        if answer.task_id is not None:
            raise _pending(response, answer, answer.task_id, model)
        fault = f"cannot be used: {'; '.join(answer.problems)}" if answer.problems else "holds no image"
        raise ResponseDecodeError(
            f"{model}: the answer of success {fault}. It was charged"
            f"{'' if answer.cost_usd is None else f' ({answer.cost_usd:g} USD)'}.",
            request_id=answer.request_id,
            status=response.status,
            json_path=f"$.data[{min(stream.broken)}].b64_json" if stream.broken else "$.data",
            excerpt=rest[:200].decode("utf-8", "replace"),
        )
    return await _finish(response, store, whole, answer, model)


def _pending(response: HttpResponse, answer: Answer, task_id: str, model: str) -> TaskPendingError:
    charge = Charge.UNKNOWN if answer.cost_usd is None else Charge.CHARGED
    return TaskPendingError(
        f"{model}: the service answered with task {shown(task_id)} instead of images; it makes them later, and this package "
        f"does not poll. {charge.sentence} Ask the service for the images by this ID; sending the request again may "
        "pay twice.",
        task_id=task_id,
        charge=charge,
        request_id=answer.request_id,
        status=response.status,
    )


async def _finish(
    response: HttpResponse, store: ImageStore, whole: list[int], answer: Answer, model: str
) -> Received:
    try:
        return Received(answer=answer, stored=await finished(store, whole))
    except OutputError as error:
        kept = cast("tuple[ReceivedImage, ...]", error.partial or ())
        raise _unwritten(error, response, model, Received(answer=answer, stored=kept)) from error


def _unwritten(
    error: OutputError, response: HttpResponse, model: str, partial: Received | None
) -> OutputError:
    in_memory = 0 if partial is None else sum(image.data is not None for image in partial.stored)
    kept = f" {in_memory} image(s) are kept in memory, in the error's `partial`." if in_memory else ""
    return OutputError(
        f"{model}: {error} {Charge.CHARGED.sentence}{kept}",
        charge=Charge.CHARGED,
        request_id=response.headers.get("X-Request-ID"),
        partial=partial,
    )


async def _salvage(
    response: HttpResponse, stream: ImageStream, store: ImageStore, model: str, redact: Redactor
) -> Received | None:
    """Keep the images that arrived whole from an answer that did not."""
    whole = sorted(stream.sizes)
    try:
        rest = redact.body(beginning(stream.rest))
        answer = decode_answer(rest, response.headers, whole, stream.broken)
    except (ValueError, RecursionError):
        answer = decode_answer(b"{}", response.headers, (), stream.broken)
    if not whole and not answer.entries:
        store.discard()
        return None
    try:
        whole = sorted({*whole, *_write_data(answer, store)})
    except OutputError as error:
        store.discard()
        raise _unwritten(error, response, model, None) from error
    return await _finish(response, store, whole, answer, model)


def _write_data(answer: Answer, store: ImageStore) -> list[int]:
    """Store the images whose bytes stand in the answer's facts; return their indices."""
    data = {entry.index: entry.data for entry in answer.entries if entry.data is not None}
    for index, image in data.items():
        store.open(index, request_id=answer.request_id).write(image)
    return list(data)


def _all_came(error: ResponseDecodeError | TransportError, expected: int | None) -> Received | None:
    """What *error* has in its `partial`, where that is all that was asked for."""
    partial = error.partial
    if expected is None or not isinstance(partial, Received):
        return None
    links = sum(entry.url is not None for entry in partial.answer.entries)
    if len(partial.stored) + links < expected:
        return None
    return attrs.evolve(partial, problem=f"all images came, but the answer did not end ({_reason(error)})")


def _reason(error: ResponseDecodeError | TransportError) -> str:
    return (
        "it is not what the documents describe"
        if isinstance(error, ResponseDecodeError)
        else type(error).__name__
    )


def _keep_whole(response: HttpResponse, stream: ImageStream, store: ImageStore, redact: Redactor) -> None:
    """Finish what came whole, at once and in place: it was paid for, and a cancelled caller does not wait."""
    whole = sorted(stream.sizes)
    with suppress(ValueError, RecursionError):
        rest = redact.body(beginning(stream.rest))
        entries = decode_answer(rest, response.headers, whole, stream.broken).entries
        store.links = [(entry.index, entry.url) for entry in entries if entry.url is not None]
    try:
        if whole:
            store.finish(whole)
    except OutputError as error:
        _log.warning("an image that came before its request was cancelled could not be kept: %s", error)
    finally:
        store.discard()


async def _undecodable(
    response: HttpResponse,
    stream: ImageStream,
    store: ImageStore,
    error: Exception,
    model: str,
    *,
    redact: Redactor,
) -> ResponseDecodeError:
    partial = await _salvage(response, stream, store, model, redact)
    excerpt = error.excerpt if isinstance(error, StreamDecodeError) else ""
    reason = error.reason if isinstance(error, StreamDecodeError) else "the body is not JSON"
    if response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
        reason = "it is a stream of server-sent events, which this package does not read"
    index = error.index if isinstance(error, StreamDecodeError) else None
    # A page of HTML is not the API's answer, and an event may report a failure: what became of the request is not known.
    charge = Charge.CHARGED if excerpt.lstrip().startswith("{") else Charge.UNKNOWN
    kept = "" if partial is None else f" {len(partial.stored)} image(s) were kept."
    return ResponseDecodeError(
        f"{model}: the answer of success cannot be used: {reason}. {charge.sentence}{kept}",
        charge=charge,
        request_id=response.headers.get("X-Request-ID"),
        status=response.status,
        json_path=None if index is None else f"$.data[{index}].b64_json",
        excerpt=excerpt,
        partial=partial,
    )
