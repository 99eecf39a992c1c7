"""What a client reports to observers while it works: one callback, typed events."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs

from ._base.jsonable import Jsonable
from ._base.logs import get_logger
from .errors import Charge
from .types.request import ImageRequest
from .types.result import GenerationResult

_log = get_logger()


@attrs.frozen(kw_only=True)
class AttemptEnded(Jsonable):
    """
    One attempt of one HTTP request ended; further ones may follow.

    Attributes:
        method: HTTP method.
        url: Without its query, which may hold secrets.
        model: ID of the model, for a paid request.
        attempt: Number of the attempt, from 1.
        paid: Whether success costs money.
        status: HTTP status; None where no answer came.
        request_id: As the service gives it, for its support.
        duration_s: From the sending to the last byte read; waiting for a slot or for the pace is not in it.
        error: Why the attempt failed, `CancelledError` included.
        charge: What the failure says about the money; None without one.
    """

    method: str
    url: str
    model: str | None
    attempt: int
    paid: bool
    status: int | None
    request_id: str | None
    duration_s: float
    error: BaseException | None = None
    charge: Charge | None = None


@attrs.frozen(kw_only=True)
class GenerationStarted(Jsonable):
    """
    A generation was asked for; checks, waiting and attempts follow in the same task.

    Attributes:
        id: The same in its `GenerationEnded`; unique within the client.
        request: What is to be generated, the prompt included.
    """

    id: int
    request: ImageRequest


@attrs.frozen(kw_only=True)
class GenerationEnded(Jsonable):
    """
    A generation ended, well or not. Downloads of signed URLs come later, if at all.

    Attributes:
        id: As in its `GenerationStarted`.
        request: What was to be generated.
        duration_s: All of it: checks, waiting, attempts.
        result: What came; None with an error.
        error: What the caller gets instead, `CancelledError` included.
    """

    id: int
    request: ImageRequest
    duration_s: float
    result: GenerationResult | None = None
    error: BaseException | None = None


ClientEvent: TypeAlias = AttemptEnded | GenerationStarted | GenerationEnded
OnEvent: TypeAlias = Callable[[ClientEvent], object]


class Observers:
    """The observers of a client; false when there are none."""

    def __init__(self) -> None:
        self._callbacks: tuple[OnEvent, ...] = ()
        self._numbers = itertools.count(1)

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, on_event: OnEvent) -> Callable[[], None]:
        """Call *on_event* from now on; the function returned ends that."""

        # A callback of its own for each addition: the same function may be added twice.
        def tell(event: ClientEvent) -> None:
            on_event(event)

        def remove() -> None:
            self._callbacks = tuple(known for known in self._callbacks if known is not tell)

        self._callbacks = (*self._callbacks, tell)
        return remove

    def tell(self, event: ClientEvent) -> None:
        """Call every observer. What one raises is logged: it must not lose an image that is paid for."""
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception:
                _log.exception("an observer failed on %s", type(event).__name__)

    async def around(
        self, request: ImageRequest, generate: Callable[[], Awaitable[GenerationResult]]
    ) -> GenerationResult:
        """Run *generate* between the events of its start and its end."""
        number, started = next(self._numbers), time.monotonic()
        result: GenerationResult | None = None
        failure: BaseException | None = None
        self.tell(GenerationStarted(id=number, request=request))
        try:
            result = await generate()
            return result
        except BaseException as error:
            failure = error
            raise
        finally:
            seconds = time.monotonic() - started
            self.tell(
                GenerationEnded(id=number, request=request, duration_s=seconds, result=result, error=failure)
            )
