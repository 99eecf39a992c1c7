"""One generation, from the POST to its answer: check, limit, draw, bill, and only then write."""

from __future__ import annotations

import asyncio

import attrs
from aiohttp import web

from .billing.quotas import key_of, label_of
from .drawing.draw import Sketch
from .drawing.sizes import pixel_size
from .edits import MAX_UPLOAD_BYTES, EditInputs, is_form, read_fields, read_form, too_large
from .faults.alterations import altered, event_stream
from .faults.bodies import answer_instead
from .faults.broken_writes import send_badly
from .faults.kinds import FaultStage
from .faults.rules import Fault, FaultTarget
from .http.exchange import HttpExchange
from .http.payload import Payload, Pieces, b64_entry, url_entry
from .http.refusals import Refusal, Route
from .http.responses import JsonObject, Response
from .ledger import Entry
from .moderation import Moderation, moderated
from .service import Service
from .validation import Order, checked_json, checked_order

_LATE = frozenset({FaultStage.INSTEAD, FaultStage.PAYLOAD, FaultStage.WIRE})
_DEAD_URLS = frozenset({"url_404", "url_html"})


async def generate(service: Service, exchange: HttpExchange, route: Route) -> web.StreamResponse:
    """Serve one generation POST."""
    service.ledger.begin(service.options.monotonic())
    generation = Generation(service, exchange, route)
    try:
        fault = await generation.early_fault()
        if fault is None:
            return await generation.serve()
        if fault.kind == "stall_before_body":
            await exchange.stall(fault.after_s)
            return await generation.serve()
        return exchange.close() if fault.kind == "refuse" else exchange.reset()
    finally:
        service.ledger.end()


class Generation:
    """One generation; its methods are the steps, in order."""

    def __init__(self, service: Service, exchange: HttpExchange, route: Route) -> None:
        self._service = service
        self._exchange = exchange
        self._route: Route = route
        self._moderation: Moderation | None = None
        self._started = service.options.clock()
        self._started_monotonic = service.options.monotonic()

    async def early_fault(self) -> Fault | None:
        """Pick the fault that strikes before the body is read, from the part of the body that has arrived."""
        if not self._service.faults.has_early():
            return None
        text = (await self._exchange.peek()).decode("utf-8", "replace")
        named = next(
            (
                model_id
                for model_id in self._service.models
                if f'"{model_id}"' in text or f"\n{model_id}\r" in text
            ),
            None,
        )
        target = FaultTarget(route=self._route, model=named, prompt=text)
        return self._service.faults.pick(target, frozenset({FaultStage.EARLY}))

    async def serve(self) -> web.StreamResponse:
        """Answer the request."""
        try:
            raw = await self._body()
            key = key_of(self._exchange.request.headers, self._service.options.key)
            self._service.limiter.start(key)
        except Refusal as refusal:
            return await self._refused(refusal)
        entry: Entry | None = None
        try:
            order = self._order(raw)
            self._moderation = moderated(self._exchange.request.headers, order.prompt)
            if self._moderation is not None and self._moderation.flagged:
                entry = self._entry(order, label_of(key), blocked=True)
                raise self._moderation.refusal()
            entry = self._entry(order, label_of(key))
            return await self._fulfil(order, entry)
        except Refusal as refusal:
            return await self._refused(refusal)
        finally:
            self._service.limiter.finish(key, entry.cost_usd if entry is not None and entry.billed else 0.0)

    async def _refused(self, refusal: Refusal) -> web.StreamResponse:
        answer = refusal.answer_for(self._exchange.request_id)
        self._service.ledger.statuses[answer.status] += 1
        return await self._exchange.send(answer)

    @property
    def _content_type(self) -> str:
        return self._exchange.request.headers.get("Content-Type", "")

    async def _body(self) -> bytes:
        if self._route != "edit" or not is_form(self._content_type):
            return await self._exchange.read_body()
        return await self._exchange.read_body(
            MAX_UPLOAD_BYTES, lambda: too_large(f"An upload may have {MAX_UPLOAD_BYTES:,} bytes.")
        )

    def _order(self, raw: bytes) -> Order:
        inputs: EditInputs | None = None
        if self._route == "edit" and is_form(self._content_type):
            body, inputs = read_form(self._content_type, raw)
        else:
            body = checked_json(self._content_type, raw, self._route)
            inputs = read_fields(body) if self._route == "edit" else None
        return checked_order(body, self._service.models, self._route, inputs)

    def _entry(self, order: Order, key: str, *, blocked: bool = False) -> Entry:
        """Add an entry to the ledger and hold its price; a blocked request pays for its moderation check."""
        check_usd = 0.0 if self._moderation is None else self._moderation.cost_usd
        cost_usd = check_usd if blocked else round(order.cost_usd + check_usd, 9)
        self._service.account.hold(key, cost_usd)
        entry = Entry(
            request_id=self._exchange.request_id,
            started=self._started,
            started_monotonic=self._started_monotonic,
            key=key,
            route=order.route,
            model=order.model.id,
            prompt=order.prompt,
            n=order.n,
            images=0 if blocked else order.images,
            cost_usd=cost_usd,
            billed=blocked,
            status=400 if blocked else None,
        )
        self._service.ledger.entries.append(entry)
        if blocked:
            self._service.account.settle(key, cost_usd, billed=True)
        return entry

    async def _fulfil(self, order: Order, entry: Entry) -> web.StreamResponse:
        """Draw, bill, then write the answer, altered by the fault if one strikes."""
        target = FaultTarget(
            route=order.route, model=order.model.id, prompt=order.prompt, delivery=order.delivery
        )
        fault = self._service.faults.pick(target, _LATE)
        entry.fault = None if fault is None else fault.kind
        try:
            images = await self._images(order, fault)
            # Billed before the answer is written: an answer that is lost from here on was paid for.
            entry.billed = fault is None or fault.bills
        finally:
            self._service.account.settle(entry.key, entry.cost_usd, billed=entry.billed)
        if fault is not None and fault.stage is FaultStage.INSTEAD:
            around = self._service.context(
                self._exchange.request.path, model_id=order.model.id, required_usd=order.cost_usd
            )
            return await self._write(
                answer_instead(fault.kind, around, self._exchange.request_id), entry, fault
            )
        payload = self._payload(order, entry, images)
        answer = payload.answer() if fault is None else altered(fault.kind, payload)
        return await self._write(event_stream(answer) if order.stream else answer, entry, fault)

    async def _images(self, order: Order, fault: Fault | None) -> list[Pieces]:
        """Return the entries of `data` after the configured latency; none if the fault sends no images."""
        if fault is not None and fault.stage is FaultStage.INSTEAD and not fault.bills:
            return []
        await self._exchange.pause(self._service.latency_s())
        kind = "" if fault is None else fault.kind
        count = order.images + {"fewer_images": -1, "more_images": 1}.get(kind, 0)
        if kind == "undeclared_jpeg":
            order = attrs.evolve(order, image_format="jpeg")
        sketches = [sketch_of(order, index) for index in range(max(1, count))]
        fallback = (
            kind in {"b64_fallback", "data_url_in_url"}
            or self._service.random.random() < self._service.options.url_fallback_rate
        )
        if order.delivery == "b64_json" or fallback:
            texts = await asyncio.gather(*map(self._service.drawing_pool.base64, sketches))
            return [b64_entry(text) for text in texts]
        return [url_entry(self._url(sketch, kind)) for sketch in sketches]

    def _url(self, sketch: Sketch, kind: str) -> str:
        if kind in _DEAD_URLS:
            return (
                f"{self._service.urls.origin}/{kind}/{self._exchange.request_id}.png?expires=9999999999&sig=0"
            )
        return self._service.urls.issue(sketch, ttl_s=-1 if kind == "url_expired" else None)

    def _payload(self, order: Order, entry: Entry, images: list[Pieces]) -> Payload:
        fields: JsonObject = {
            "created": int(self._service.options.clock()),
            "cost": order.cost_usd,
            "paymentSource": "USD",
            "remainingBalance": self._service.account.balance_usd(entry.key),
        }
        headers = {} if self._moderation is None else self._moderation.headers
        return Payload(data=images, fields=fields, headers=headers)

    async def _write(self, answer: Response, entry: Entry, fault: Fault | None) -> web.StreamResponse:
        entry.status = answer.status
        self._service.ledger.statuses[answer.status] += 1
        if fault is None or fault.stage is not FaultStage.WIRE:
            response = await self._exchange.send(answer)
            entry.answered = True
            return response
        written = await send_badly(self._exchange, answer, fault)
        entry.answered = written.whole
        return written.response


def sketch_of(order: Order, index: int) -> Sketch:
    """Describe image *index* (from 0) of *order*, for the drawing pool."""
    width, height = pixel_size(order.resolution, order.aspect_ratio)
    if order.inputs is not None and order.resolution == "auto":
        width, height = order.inputs.images[0].size or (width, height)
    return Sketch(
        prompt=order.prompt,
        model=order.model.id,
        resolution=order.resolution,
        seed=order.seed,
        index=index,
        width=width,
        height=height,
        image_format=order.image_format,
        inputs=order.inputs,
    )
