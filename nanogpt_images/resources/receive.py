"""An answer of success, streamed: images go to their store as they arrive, the small rest is decoded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeGuard

import attrs

from .._base.display import shown
from .._base.logs import get_logger
from ..errors import Charge, OutputError, ResponseDecodeError, TaskPendingError, TransportError
from ..outputs import ImageStore, ReceivedImage, finished
from ..transport.protocol import HttpResponse
from ..transport.secrets import NO_SECRET, Redactor
from ..types.result import GenerationResult
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


@attrs.frozen
class _Reading:
    """What the steps of reading one answer share."""

    response: HttpResponse
    store: ImageStore
    model: str
    redact: Redactor
    as_result: Callable[[Received], GenerationResult]

    @property
    def request_id(self) -> str | None:
        return self.response.headers.get("X-Request-ID")


async def receive(
    response: HttpResponse,
    store: ImageStore,
    *,
    model: str,
    max_image_bytes: int,
    as_result: Callable[[Received], GenerationResult],
    redact: Redactor = NO_SECRET,
    expected: int | None = None,
) -> GenerationResult:
    """
    Read the answer of a paid request.

    An answer that breaks off behind its last image is a success with a problem: to ask again would pay again for
    what is there. Where the reader is cancelled, the store finishes the images that came whole.

    Args:
        response: An answer of success.
        store: Takes the images.
        model: For the text of errors.
        max_image_bytes: Greatest size of one decoded image.
        as_result: Makes what callers get of it, also in an error's `partial`.
        redact: Replaces the key in what stands beside the images.
        expected: How many images the request makes; None where that is not known.

    Raises:
        ResponseDecodeError: No image, or not the documented body; `partial` has what came whole.
        TransportError: The connection broke, or time ran out; likewise.
        OutputError: The store cannot take the images.
    """
    reading = _Reading(response, store, model, redact, as_result)
    open_image = functools.partial(store.open, request_id=reading.request_id)
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
        kept = await _salvage(reading, stream)
        if _all_came(kept, expected):
            return as_result(attrs.evolve(kept, problem=_no_end("it is not what the documents describe")))
        raise _undecodable(reading, error, kept) from error
    except OutputError as error:
        store.discard()
        raise _unwritten(reading, error) from error
    except TransportError as error:
        kept = await _salvage(reading, stream)
        if _all_came(kept, expected):
            return as_result(attrs.evolve(kept, problem=_no_end(type(error).__name__)))
        error.partial = None if kept is None else as_result(kept)
        raise
    except BaseException:
        _keep_whole(reading, stream)
        raise
    if not answer.entries:
        store.discard()
        if answer.task_id is not None:
            raise _pending(reading, answer, answer.task_id)
        fault = f"cannot be used: {'; '.join(answer.problems)}" if answer.problems else "holds no image"
        raise ResponseDecodeError(
            f"{model}: the answer of success {fault}"
            f"{'' if answer.cost_usd is None else f'; it cost {answer.cost_usd:g} USD'}.",
            request_id=answer.request_id,
            status=response.status,
            json_path=f"$.data[{min(stream.broken)}].b64_json" if stream.broken else "$.data",
            excerpt=rest[:200].decode("utf-8", "replace"),
        )
    return as_result(await _finish(reading, whole, answer))


def _pending(reading: _Reading, answer: Answer, task_id: str) -> TaskPendingError:
    charge = Charge.UNKNOWN if answer.cost_usd is None else Charge.CHARGED
    return TaskPendingError(
        f"{reading.model}: the service answered with task {shown(task_id)} instead of images; it makes them later, and this package "
        "does not poll.",
        advice="Ask the service for the images by this ID; sending the request again may pay twice.",
        task_id=task_id,
        charge=charge,
        request_id=answer.request_id,
        status=reading.response.status,
    )


async def _finish(reading: _Reading, whole: list[int], answer: Answer) -> Received:
    try:
        return Received(answer=answer, stored=await finished(reading.store, whole))
    except OutputError as error:
        failure = _unwritten(reading, error, reading.store.kept)
        failure.partial = reading.as_result(Received(answer=answer, stored=tuple(reading.store.kept)))
        raise failure from error


def _unwritten(reading: _Reading, error: OutputError, stored: Sequence[ReceivedImage] = ()) -> OutputError:
    in_memory = sum(image.data is not None for image in stored)
    kept = f"{in_memory} image(s) are kept in memory, in the error's `partial`." if in_memory else ""
    return OutputError(
        f"{reading.model}: {error.message}",
        advice=kept,
        charge=Charge.CHARGED,
        request_id=reading.request_id,
    )


async def _salvage(reading: _Reading, stream: ImageStream) -> Received | None:
    """Keep the images that arrived whole from an answer that did not."""
    whole = sorted(stream.sizes)
    try:
        rest = reading.redact.body(beginning(stream.rest))
        answer = decode_answer(rest, reading.response.headers, whole, stream.broken)
    except (ValueError, RecursionError):
        answer = decode_answer(b"{}", reading.response.headers, (), stream.broken)
    if not whole and not answer.entries:
        reading.store.discard()
        return None
    try:
        whole = sorted({*whole, *_write_data(answer, reading.store)})
    except OutputError as error:
        reading.store.discard()
        raise _unwritten(reading, error) from error
    return await _finish(reading, whole, answer)


def _write_data(answer: Answer, store: ImageStore) -> list[int]:
    """Store the images whose bytes stand in the answer's facts; return their indices."""
    data = {entry.index: entry.data for entry in answer.entries if entry.data is not None}
    for index, image in data.items():
        store.open(index, request_id=answer.request_id).write(image)
    return list(data)


def _all_came(kept: Received | None, expected: int | None) -> TypeGuard[Received]:
    """Return whether *kept* is all that was asked for."""
    if expected is None or kept is None:
        return False
    links = sum(entry.url is not None for entry in kept.answer.entries)
    return len(kept.stored) + links >= expected


def _no_end(reason: str) -> str:
    return f"all images came, but the answer did not end ({reason})"


def _keep_whole(reading: _Reading, stream: ImageStream) -> None:
    """Finish what came whole, at once and in place: it was paid for, and a cancelled caller does not wait."""
    whole = sorted(stream.sizes)
    with suppress(ValueError, RecursionError):
        rest = reading.redact.body(beginning(stream.rest))
        entries = decode_answer(rest, reading.response.headers, whole, stream.broken).entries
        reading.store.links = [(entry.index, entry.url) for entry in entries if entry.url is not None]
    try:
        if whole:
            reading.store.finish(whole)
    except OutputError as error:
        _log.warning("an image that came before its request was cancelled could not be kept: %s", error)
    finally:
        reading.store.discard()


def _undecodable(reading: _Reading, error: Exception, kept: Received | None) -> ResponseDecodeError:
    excerpt = error.excerpt if isinstance(error, StreamDecodeError) else ""
    reason = error.reason if isinstance(error, StreamDecodeError) else "the body is not JSON"
    if reading.response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
        reason = "it is a stream of server-sent events, which this package does not read"
    index = error.index if isinstance(error, StreamDecodeError) else None
    # A page of HTML is not the API's answer, and an event may report a failure: what became of the request is not known.
    charge = Charge.CHARGED if excerpt.lstrip().startswith("{") else Charge.UNKNOWN
    return ResponseDecodeError(
        f"{reading.model}: the answer of success cannot be used: {reason}.",
        charge=charge,
        advice="" if kept is None else f"{len(kept.stored)} image(s) were kept.",
        request_id=reading.request_id,
        status=reading.response.status,
        json_path=None if index is None else f"$.data[{index}].b64_json",
        excerpt=excerpt,
        partial=None if kept is None else reading.as_result(kept),
    )
