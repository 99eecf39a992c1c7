"""Signed URLs → bytes: free to repeat, resumed where it broke off, and never with the key."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn
from urllib.parse import urljoin, urlsplit

import attrs

from .._base.display import shown_url
from .._base.logs import get_logger
from .._base.sink import Sink
from .._base.sniff import TAIL_BYTES, has_end
from ..errors import DownloadError, NanoGPTError, OutcomeUnknownError, StatusError
from ..outputs import ImageStore, MemoryStore, ReceivedImage, finished
from ..transport.protocol import HttpRequest, HttpResponse, Transport
from ..transport.retry import RetryPolicy
from ..transport.secrets import not_pickled
from ..transport.sender import Slots, read_failure
from ..wire.failures import decode_failure
from ..wire.lifetimes import life_is_over

_log = get_logger()
_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Refusals that say nothing about the file: they ask to come back, or to ask for another range.
_NOT_ABOUT_THE_FILE: Final = frozenset({408, 416, 425, 429})
_PAGE_BYTES: Final = 64


@attrs.define
class _Progress:
    """How far one download of *link* has come, over all its attempts; *url* is where a redirect led."""

    link: str
    received_at: float
    sink: Sink
    url: str = attrs.field(init=False)
    received: int = 0
    head: bytes = b""
    tail: bytes = b""
    ends_anywhere: bool = False
    validator: str | None = None
    redirects: int = 0
    attempts: int = 0

    def __attrs_post_init__(self) -> None:
        self.url = self.link

    @property
    def is_elsewhere(self) -> bool:
        """Whether a redirect led to another host or port than those that the service named."""
        return urlsplit(self.url).netloc != urlsplit(self.link).netloc

    def headers(self) -> dict[str, str]:
        headers = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
        if self.received and self.validator:
            # Without a validator the file behind the URL could be another one by now.
            headers |= {"Range": f"bytes={self.received}-", "If-Range": self.validator}
        return headers

    def start_over(self, sink: Sink) -> None:
        """Forget what was received; the next bytes are the file's first."""
        self.sink, self.received, self.head, self.tail, self.validator = sink, 0, b"", b"", None

    def take(self, chunk: bytes) -> None:
        """Hand on the next bytes of the file."""
        if len(self.head) < _PAGE_BYTES:
            self.head += chunk[:_PAGE_BYTES]
        self.received += len(chunk)
        if self.ends_anywhere:
            self.tail = (self.tail + chunk)[-TAIL_BYTES:]
        self.sink.write(chunk)


class Downloads:
    """
    Downloads of one client.

    Args:
        transport: Sends the requests.
        retry: How often, and after how long, a broken download is resumed.
        slots: Shared with the client's other requests.
        timeout_s: Limit for each attempt.
        max_bytes: Greatest size of one file.
        may_be_private: Whether a redirect may lead to this URL although its address is not public.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry: RetryPolicy,
        slots: Slots,
        timeout_s: float,
        max_bytes: int,
        user_agent: str,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
        may_be_private: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._transport = transport
        self._slots = slots
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._user_agent = user_agent
        self._sleep = sleep
        self.clock = clock
        self._may_be_private = may_be_private
        self.retry = retry

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    async def read(self, url: str, *, received_at: float | None = None) -> bytes:
        """Download the bytes behind *url*; see `fetch_all`."""
        (stored,) = await self.fetch_all([(0, url)], MemoryStore(), received_at=received_at)
        return stored.data or b""

    async def fetch_all(
        self,
        links: Sequence[tuple[int, str]],
        store: ImageStore,
        *,
        request_id: str | None = None,
        received_at: float | None = None,
    ) -> tuple[ReceivedImage, ...]:
        """
        Download *links* into *store*, one after the other.

        While a URL lives a refusal proves nothing, so it is asked for again: storage answers 403 and 404 for files
        that have not reached all of its hosts, and even a 410 can be the word of a cache in front of it.

        Args:
            links: (index of the image, signed URL).
            store: Takes the bytes; it is left as if nothing had been downloaded where trying again can help.
            request_id: Of the request that the images were made by.
            received_at: When the links came (seconds since the epoch); by default now.

        Raises:
            DownloadError: A URL cannot be downloaded; `expired` once it is refused and its life is over. Then
                `store.kept` has what the others brought: it will not come again.
        """
        received_at = self.clock() if received_at is None else received_at
        lost: DownloadError | None = None
        whole: list[int] = []
        try:
            for index, url in links:
                try:
                    await self._fetch(url, received_at, functools.partial(store.open, index, request_id))
                    whole.append(index)
                except DownloadError as error:
                    if not error.expired:
                        raise
                    lost = lost or error
            stored = await finished(store, whole) if whole else ()
        except BaseException:
            store.discard()
            raise
        if lost is None:
            return stored
        if not whole:
            store.discard()
        raise lost

    async def _fetch(self, url: str, received_at: float, open_image: Callable[[], Sink]) -> None:
        progress = _Progress(url, received_at, open_image())
        if not _is_web_address(url):
            raise _failed(progress, "that is not a web address")
        attempt = 1
        while True:
            before = progress.received
            try:
                async with self._slots.one():
                    if await self._attempt(progress, open_image):
                        return
            except DownloadError:
                raise
            except NanoGPTError as error:
                attempt = 1 if progress.received > before else attempt
                delay_s = self.retry.delay_s(error, attempt, paid=False, passing=_is_refusal(error))
                if delay_s is None:
                    raise _failed(progress, error.message) from error
                attempt += 1
                _log.info("a download was interrupted; it resumes in %.1f s: %s", delay_s, error)
                await self._sleep(delay_s)

    async def _attempt(self, progress: _Progress, start_over: Callable[[], Sink]) -> bool:
        """Send one request; return False when another one has to follow it."""
        progress.attempts += 1
        request = HttpRequest(
            method="GET",
            url=progress.url,
            headers={**progress.headers(), "User-Agent": self._user_agent},
            timeout_s=self._timeout_s,
            attempt=progress.attempts,
            # The link is the service's word; where its host redirects to is a stranger's.
            public_only=progress.is_elsewhere and not self._may_be_private(progress.url),
        )
        async with self._transport.send(request) as response:
            if response.status in _REDIRECTS:
                self._redirect(progress, response)
                return False
            if response.status >= 300:
                error = await self._refused(progress, response)
                if response.status == 416:
                    progress.start_over(start_over())
                raise error
            if progress.received and not _continues(response, progress.received):
                progress.start_over(start_over())
                if response.status == 206:
                    return False
            progress.validator = _validator(response)
            progress.ends_anywhere = _has_no_length(response)
            async for chunk in response.chunks():
                if progress.received + len(chunk) > self._max_bytes:
                    raise _failed(progress, f"it is larger than {self._max_bytes:,} bytes")
                progress.take(chunk)
                if _is_page(progress.head):
                    raise _failed(progress, "it answers a page of HTML instead of an image")
        if not progress.received:
            raise _failed(progress, "it is empty")
        if progress.ends_anywhere and not has_end(progress.head, progress.tail, progress.received):
            raise OutcomeUnknownError(
                f"the file ended after {progress.received:,} bytes, and the image in it did not",
                says_charge=False,
            )
        return True

    def _redirect(self, progress: _Progress, response: HttpResponse) -> None:
        progress.redirects += 1
        try:
            target = urljoin(progress.url, response.headers.get("Location", ""))
        except ValueError:
            target = ""
        if progress.redirects > _MAX_REDIRECTS or not _is_web_address(target):
            raise _failed(progress, "it redirects without end, or to what is not a web address")
        if progress.url.startswith("https:") and target.startswith("http:"):
            raise _failed(progress, "it redirects from https to plain http")
        progress.url = target

    async def _refused(self, progress: _Progress, response: HttpResponse) -> StatusError | DownloadError:
        body = await read_failure(response)
        error = decode_failure(response.status, response.headers, body, target="the signed URL", paid=False)
        about_the_file = _is_refusal(error) and response.status not in _NOT_ABOUT_THE_FILE
        if about_the_file and life_is_over(
            progress.link,
            received_at=progress.received_at,
            now=self.clock(),
            host_date=response.headers.get("Date"),
        ):
            return _failed(progress, f"it answers {response.status}, and its life is over", expired=True)
        # Where a redirect led may be short-lived itself.
        progress.url, progress.redirects = progress.link, 0
        return error


def _is_refusal(error: NanoGPTError) -> bool:
    return isinstance(error, StatusError) and 400 <= error.status < 500


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname)


def _continues(response: HttpResponse, received: int) -> bool:
    """Return whether the answer is the rest of the file after *received* bytes, and nothing else."""
    span = response.headers.get("Content-Range", "").strip().lower()
    return response.status == 206 and span.startswith(f"bytes {received}-")


def _has_no_length(response: HttpResponse) -> bool:
    """Return whether the body ends where the connection does, be it whole or not."""
    return "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers


def _validator(response: HttpResponse) -> str | None:
    # A weak tag does not promise the same bytes.
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _is_page(head: bytes) -> bool:
    return head.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _failed(progress: _Progress, reason: str, *, expired: bool = False) -> DownloadError:
    place = shown_url(progress.url)
    advice = "The image is lost." if expired else "Downloading again is free while the URL lives."
    return DownloadError(
        f"cannot download {place}: {reason.rstrip('.')}.",
        advice=advice,
        expired=expired,
    )
