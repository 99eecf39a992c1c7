"""Which handler serves a path: the five endpoints, the account, and the sandbox's own pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
from aiohttp import web

from ..billing.account import balance_body
from ..billing.quotas import key_of, label_of
from ..billing.usage import usage_body
from ..catalog.listings import endpoints, image_models, images_models
from ..faults.bodies import answer_instead
from ..faults.broken_writes import send_badly
from ..faults.catalogues import altered_listing
from ..faults.kinds import Stage
from ..faults.rules import Fault, Target
from ..generation import generate
from ..service import Service
from ..validation import model_not_found
from .exchange import Wire
from .refusals import Refusal, refuse
from .responses import Answer, JsonObject, json_answer, json_bytes

_ANY_STAGE = frozenset({Stage.INSTEAD, Stage.PAYLOAD, Stage.LISTING, Stage.WIRE})
_MODELS = "/api/v1/images/models/"
_FALSE = frozenset({"false", "0", "no"})


async def serve(service: Service, wire: Wire) -> web.StreamResponse:
    """Serve one request to the first origin."""
    try:
        return await _dispatch(service, wire)
    except Refusal as refusal:
        return await wire.send(refusal.answer_for(wire.request_id))


async def _dispatch(service: Service, wire: Wire) -> web.StreamResponse:
    path, prefix = wire.request.path, service.options.prefix
    own = path.removeprefix(prefix)
    if own.startswith("/_sandbox/"):
        return await wire.send(await _own_page(service, wire, own))
    if not path.startswith(prefix + "/"):
        raise _not_found(path)
    if own in _POSTS:
        _check_method(wire.request.method, ("POST",))
        return await _POSTS[own](service, wire)
    if own in _GETS or (own.startswith(_MODELS) and own.endswith("/endpoints")):
        _check_method(wire.request.method, ("GET", "HEAD"))
        return await _free(
            service, wire, _GETS.get(own, "endpoints"), lambda: _page(service, wire.request, own)
        )
    raise _not_found(path)


async def _images(service: Service, wire: Wire) -> web.StreamResponse:
    return await generate(service, wire, "images")


async def _openai(service: Service, wire: Wire) -> web.StreamResponse:
    return await generate(service, wire, "openai")


async def _balance(service: Service, wire: Wire) -> web.StreamResponse:
    await wire.read_body()
    # The one header that is documented for it.
    headers = {"x-api-key": wire.request.headers.get("x-api-key", "")}
    key = label_of(key_of(headers, service.options.key))
    return await _free(service, wire, "account", lambda: balance_body(service.account.balance_usd(key)))


async def _free(
    service: Service, wire: Wire, route: str, page: Callable[[], JsonObject]
) -> web.StreamResponse:
    """Serve something that costs nothing, or what a fault makes of it."""
    listing = wire.request.path.removeprefix("/api/v1/") if route == "catalog" else None
    fault = service.faults.pick(Target(route=route, listing=listing), _ANY_STAGE)
    if fault is None and route == "catalog":
        return await wire.send(_listing(service, wire.request.path_qs, page))
    answer = _altered(service, wire, page(), fault)
    if fault is not None and fault.stage is Stage.WIRE:
        return (await send_badly(wire, answer, fault)).response
    return await wire.send(answer)


def _listing(service: Service, url: str, page: Callable[[], JsonObject]) -> Answer:
    """A listing, written once per URL: with 10,000 models that takes longer than anything else here."""
    if len(service.pages) > 64:
        service.pages.clear()
    if url not in service.pages:
        service.pages[url] = json_bytes(page())
    return Answer(body=(service.pages[url],))


def _altered(service: Service, wire: Wire, body: JsonObject, fault: Fault | None) -> Answer:
    if fault is not None and fault.stage is Stage.INSTEAD:
        return answer_instead(fault.kind, service.surroundings(wire.request.path), wire.request_id)
    if fault is not None and fault.stage in {Stage.PAYLOAD, Stage.LISTING} and "data" in body:
        return altered_listing(fault.kind, body)
    return json_answer(body)


def _page(service: Service, request: web.BaseRequest, path: str) -> JsonObject:
    models, now = list(service.models.values()), service.options.clock()
    match path:
        case "/api/v1/image-models":
            detailed = request.query.get("detailed", "true").lower() not in _FALSE
            return image_models(models, detailed=detailed, now=now)
        case "/api/v1/images/models":
            return images_models(models, now=now)
        case "/api/v1/usage":
            return _usage(service, request)
        case _:
            model_id = path.removeprefix(_MODELS).removesuffix("/endpoints")
            if model_id not in service.models:
                raise model_not_found(model_id)
            return endpoints(service.models[model_id])


def _usage(service: Service, request: web.BaseRequest) -> JsonObject:
    key = label_of(key_of(request.headers, service.options.key))
    now = service.options.clock()
    return usage_body(service.ledger.entries, key, request.query, service.models, now)


async def _own_page(service: Service, wire: Wire, path: str) -> Answer:
    """The sandbox's own pages; the service has none of them."""
    match wire.request.method, path:
        case "GET", "/_sandbox/identity":
            return json_answer({"name": "nanogpt_images.sandbox"})
        case "GET", "/_sandbox/ledger":
            return json_answer(
                service.ledger.as_json(entries=wire.request.query.get("entries") not in _FALSE)
            )
        case "GET", "/_sandbox/visits":
            return json_answer({"visits": [attrs.asdict(visit) for visit in service.urls.visits]})
        case "POST", "/_sandbox/reset":
            await wire.read_body()
            service.reset()
            return json_answer({"reset": True})
        case _:
            raise refuse(
                404, "not_found", "The sandbox's own pages: GET identity, ledger or visits, POST reset."
            )


def _not_found(path: str) -> Refusal:
    return refuse(404, "not_found", f"There is nothing at {path}.")


def _check_method(method: str, allowed: tuple[str, ...]) -> None:
    if method not in allowed:
        names = ", ".join(allowed)
        message = f"{method} is not allowed here; use {names}."
        raise refuse(405, "method_not_allowed", message, headers={"Allow": names})


_POSTS: Mapping[str, Callable[[Service, Wire], Awaitable[web.StreamResponse]]] = {
    "/api/v1/images": _images,
    "/v1/images/generations": _openai,
    "/api/v1/images/generations": _openai,
    "/api/check-balance": _balance,
}
_GETS = {
    "/api/v1/image-models": "catalog",
    "/api/v1/images/models": "catalog",
    "/api/v1/usage": "account",
}
