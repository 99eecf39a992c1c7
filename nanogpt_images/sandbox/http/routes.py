"""The routes: the five endpoints, the account, and the sandbox's own pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import attrs
from aiohttp import web

from ..billing.account import balance_body
from ..billing.estimates import estimate_body
from ..billing.quotas import key_of, label_of
from ..billing.usage import usage_body
from ..catalog.listings import endpoints, image_models, images_models
from ..faults.bodies import answer_instead
from ..faults.broken_writes import send_badly
from ..faults.catalogues import altered_listing
from ..faults.kinds import FaultStage
from ..faults.rules import Fault, FaultTarget
from ..generation import generate
from ..service import Service
from ..validation import checked_json, model_not_found
from .exchange import HttpExchange
from .refusals import Refusal, refuse
from .responses import JsonObject, Response, json_answer, json_bytes

_ANY_STAGE = frozenset({FaultStage.INSTEAD, FaultStage.PAYLOAD, FaultStage.LISTING, FaultStage.WIRE})
_MODELS = "/api/v1/images/models/"
_EDITS = ("/api/v1/images/edits", "/api/v1/images/edit", "/v1/images/edits", "/v1/images/edit")
_FALSE = frozenset({"false", "0", "no"})


async def serve(service: Service, exchange: HttpExchange) -> web.StreamResponse:
    """Serve one request to the first origin."""
    try:
        return await _dispatch(service, exchange)
    except Refusal as refusal:
        return await exchange.send(refusal.answer_for(exchange.request_id))


async def _dispatch(service: Service, exchange: HttpExchange) -> web.StreamResponse:
    path, prefix = exchange.request.path, service.options.prefix
    own = path.removeprefix(prefix)
    if own.startswith("/_sandbox/"):
        return await exchange.send(await _own_page(service, exchange, own))
    if not path.startswith(prefix + "/"):
        raise _not_found(path)
    if own in _POSTS:
        _check_method(exchange.request.method, ("POST",))
        return await _POSTS[own](service, exchange)
    if own in _GETS or (own.startswith(_MODELS) and own.endswith("/endpoints")):
        _check_method(exchange.request.method, ("GET", "HEAD"))
        return await _free(
            service, exchange, _GETS.get(own, "endpoints"), lambda: _page(service, exchange.request, own)
        )
    raise _not_found(path)


async def _balance(service: Service, exchange: HttpExchange) -> web.StreamResponse:
    await exchange.read_body()
    # x-api-key is the only header documented for this route.
    headers = {"x-api-key": exchange.request.headers.get("x-api-key", "")}
    key = label_of(key_of(headers, service.options.key))
    return await _free(service, exchange, "account", lambda: balance_body(service.account.balance_usd(key)))


async def _estimate(service: Service, exchange: HttpExchange) -> web.StreamResponse:
    content_type = exchange.request.headers.get("Content-Type", "")
    body = checked_json(content_type, await exchange.read_body(), "images")
    return await _free(service, exchange, "estimate", lambda: estimate_body(body, service.models))


async def _free(
    service: Service, exchange: HttpExchange, route: str, page: Callable[[], JsonObject]
) -> web.StreamResponse:
    """Serve a page that costs nothing, altered by a fault if one strikes."""
    listing = exchange.request.path.removeprefix("/api/v1/") if route == "catalog" else None
    fault = service.faults.pick(FaultTarget(route=route, listing=listing), _ANY_STAGE)
    if fault is None and route == "catalog":
        return await exchange.send(_listing(service, exchange.request.path_qs, page))
    answer = _altered(service, exchange, page(), fault)
    if fault is not None and fault.stage is FaultStage.WIRE:
        return (await send_badly(exchange, answer, fault)).response
    return await exchange.send(answer)


def _listing(service: Service, url: str, page: Callable[[], JsonObject]) -> Response:
    """Encode a listing once per URL: with 10,000 models, encoding takes longer than anything else here."""
    if len(service.pages) > 64:
        service.pages.clear()
    if url not in service.pages:
        service.pages[url] = json_bytes(page())
    return Response(body=(service.pages[url],))


def _altered(service: Service, exchange: HttpExchange, body: JsonObject, fault: Fault | None) -> Response:
    if fault is not None and fault.stage is FaultStage.INSTEAD:
        return answer_instead(fault.kind, service.context(exchange.request.path), exchange.request_id)
    if fault is not None and fault.stage in {FaultStage.PAYLOAD, FaultStage.LISTING} and "data" in body:
        return altered_listing(fault.kind, body)
    if fault is not None and fault.kind == "other_currency" and "cost" in body:
        return json_answer({**body, "currency": "EUR"})
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
            key = label_of(key_of(request.headers, service.options.key))
            return usage_body(service.ledger.entries, key, request.query, service.models, now)
        case _:
            model_id = path.removeprefix(_MODELS).removesuffix("/endpoints")
            if model_id not in service.models:
                raise model_not_found(model_id)
            return endpoints(service.models[model_id])


async def _own_page(service: Service, exchange: HttpExchange, path: str) -> Response:
    """Answer the sandbox's own pages, which the service does not have."""
    match exchange.request.method, path:
        case "GET", "/_sandbox/identity":
            return json_answer({"name": "nanogpt_images.sandbox"})
        case "GET", "/_sandbox/ledger":
            return json_answer(
                service.ledger.as_json(entries=exchange.request.query.get("entries") not in _FALSE)
            )
        case "GET", "/_sandbox/visits":
            return json_answer({"visits": [attrs.asdict(visit) for visit in service.urls.visits]})
        case "POST", "/_sandbox/reset":
            await exchange.read_body()
            service.reset()
            return json_answer({"reset": True})
        case _:
            raise refuse(
                404, "not_found", "The sandbox's own pages: GET identity, ledger or visits, POST reset."
            )


def _not_found(path: str) -> Refusal:
    return refuse(404, "not_found", f"Not found: {path}.")


def _check_method(method: str, allowed: tuple[str, ...]) -> None:
    if method not in allowed:
        names = ", ".join(allowed)
        message = f"{method} is not allowed here; use {names}."
        raise refuse(405, "method_not_allowed", message, headers={"Allow": names})


_POSTS: Mapping[str, Callable[[Service, HttpExchange], Awaitable[web.StreamResponse]]] = {
    "/api/v1/images": partial(generate, route="images"),
    "/v1/images/generations": partial(generate, route="openai"),
    "/api/v1/images/generations": partial(generate, route="openai"),
    **dict.fromkeys(_EDITS, partial(generate, route="edit")),
    "/api/check-balance": _balance,
    "/api/estimate-image-cost": _estimate,
}
_GETS = {
    "/api/v1/image-models": "catalog",
    "/api/v1/images/models": "catalog",
    "/api/v1/usage": "account",
}
