"""Faults that replace the whole answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import attrs

from ..billing.quotas import Limiter, per_second_refusal
from ..http.refusals import Refusal, body_too_large, insufficient_balance, refuse
from ..http.responses import Response, json_answer, text_answer

_HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>edge</body></html>"


@attrs.frozen(kw_only=True)
class FaultContext:
    """The facts about sandbox and request that the answers of faults contain."""

    limiter: Limiter
    second_origin: str
    path: str
    model_id: str | None
    required_usd: float
    now: float


def answer_instead(kind: str, around: FaultContext, request_id: str) -> Response:
    """Return the answer of a fault of the stage INSTEAD."""
    made = _ANSWERS[kind](around)
    return made.answer_for(request_id) if isinstance(made, Refusal) else made


def _html(status: int, title: str) -> Response:
    return text_answer(_HTML.format(title), status=status, content_type="text/html")


def _server_error(message: str) -> Response:
    body = {"error": {"message": message, "type": "server_error", "code": "internal_error", "param": None}}
    return json_answer(body, status=500)


def _quote(around: FaultContext) -> Response:
    error = {"message": "Payment required", "type": "payment_required", "code": "insufficient_balance"}
    payment = {"paymentId": "pay_sandbox", "amountUsd": str(around.required_usd), "accepted": ["nano", "usd"]}
    return json_answer({"error": error, "payment": payment}, status=402)


def _retry_date(around: FaultContext) -> Response:
    answer = per_second_refusal("Rate limit exceeded.").answer
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(around.now + 2))
    return attrs.evolve(answer, headers={"Retry-After": date})


def _redirect(around: FaultContext) -> Response:
    location = f"{around.second_origin}/redirected{around.path}"
    return Response(status=307, content_type=None, headers={"Location": location})


def _transient(code: str) -> Refusal:
    message = "The provider is temporarily unavailable. Try again."
    return refuse(503, code, message, error_type="server_error", headers={"Retry-After": "1"})


_ANSWERS: Mapping[str, Callable[[FaultContext], Response | Refusal]] = {
    "400": lambda _: refuse(400, "invalid_request", "The request is invalid."),
    "content_policy": lambda _: refuse(
        400, "content_policy_violation", "The prompt was rejected by the safety system."
    ),
    "401": lambda _: refuse(
        401, "invalid_api_key", "Invalid API key provided.", error_type="authentication_error"
    ),
    "402": lambda around: insufficient_balance(around.required_usd),
    "402_quote": _quote,
    "403": lambda _: refuse(
        403, "permission_denied", "This key may not use the model.", error_type="permission_error"
    ),
    "404": lambda around: refuse(404, "model_not_found", f"The model '{around.model_id}' does not exist."),
    "408": lambda _: json_answer({"error": "Request timed out", "status": 408}, status=408),
    "409": lambda _: refuse(409, "conflict", "The request conflicts with another one."),
    "413": lambda _: body_too_large(),
    "429": lambda _: per_second_refusal("Rate limit exceeded."),
    "429_date": _retry_date,
    "429_daily": lambda around: around.limiter.daily_refusal(
        "daily_rpd_limit_exceeded", "Daily request limit reached."
    ),
    "429_daily_usd": lambda around: around.limiter.daily_refusal(
        "daily_usd_limit_exceeded", "Daily USD limit reached."
    ),
    "500": lambda _: _server_error("Internal server error"),
    "500_billed": lambda _: _server_error("Image upload failed; this request has been billed."),
    "500_not_billed": lambda _: _server_error("Image generation failed. You have not been charged."),
    "500_perhaps_billed": lambda _: _server_error("The answer was lost. You may have been charged."),
    "500_billed_once": lambda _: _server_error("This request has been billed. Retries are never charged."),
    "500_not_yet_billed": lambda _: _server_error(
        "You have not yet been charged; the image is still being generated."
    ),
    "502": lambda _: _html(502, "502 Bad Gateway"),
    "503": lambda _: _transient("provider_transient_error"),
    "503_deducted": lambda around: refuse(
        503,
        "provider_transient_error",
        f"The provider is temporarily unavailable. {around.required_usd} USD has already been deducted.",
        error_type="server_error",
    ),
    "503_limiter": lambda _: _transient("rate_limiter_unavailable"),
    "504": lambda _: text_answer("FUNCTION_INVOCATION_TIMEOUT", status=504),
    "524": lambda _: _html(524, "524: A timeout occurred"),
    "html_5xx": lambda _: _html(500, "Internal Server Error"),
    "empty_5xx": lambda _: Response(status=500, content_type=None),
    "html_200": lambda _: _html(200, "Sign in to the network"),
    "integer_code": lambda _: json_answer(
        {"error": {"message": "Bad input", "code": 400}, "status": 400, "code": 400}, status=400
    ),
    "unknown_error_shape": lambda _: json_answer(["something", {"went": "wrong"}], status=400),
    "redirect": _redirect,
}
