"""Every refusal the service documents, with the body shape it uses for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from .responses import JsonObject, Response, json_answer, text_answer

Route = Literal["images", "openai", "edit"]

_REQUEST_ID = b"<request id>"
MAX_BODY_BYTES = 4_400_000


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a failure of the sandbox
    """A request is turned down: nothing is drawn and nothing is billed."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer

    def answer_for(self, request_id: str) -> Response:
        """The answer, with *request_id* where its body has one."""
        body = tuple(piece.replace(_REQUEST_ID, request_id.encode()) for piece in self.answer.body)
        return attrs.evolve(self.answer, body=body)


def refuse(
    status: int,
    code: str,
    message: str,
    *,
    parameter: str | None = None,
    error_type: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
    route: Route = "images",
) -> Refusal:
    """A refusal in the shape that *code* has, else in the shape of *route*."""
    shape = _SHAPES.get(code, _image_api if route == "images" else _openai)
    return Refusal(
        json_answer(shape(status, code, message, parameter, error_type), status=status, headers=headers)
    )


def insufficient_balance(required_usd: float) -> Refusal:
    """402 with the price of the request that could not be paid."""
    body = {"error": "Insufficient balance", "requiredBalance": required_usd, "status": 402}
    return Refusal(json_answer(body, status=402))


def body_too_large() -> Refusal:
    """The edge's plain-text 413, sent before the service sees the request."""
    return Refusal(text_answer("Request Entity Too Large\nFUNCTION_PAYLOAD_TOO_LARGE", status=413))


def _image_api(status: int, code: str, message: str, parameter: str | None, error_type: str) -> JsonObject:
    error = {"message": message, "type": error_type, "code": code, "parameter": parameter}
    return {"error": error, "code": code}


def _openai(status: int, code: str, message: str, parameter: str | None, error_type: str) -> JsonObject:
    return {"error": {"message": message, "type": error_type, "code": code, "param": parameter}}


def _text_and_code(
    status: int, code: str, message: str, parameter: str | None, error_type: str
) -> JsonObject:
    return {"error": message, "code": code}


def _text_only(status: int, code: str, message: str, parameter: str | None, error_type: str) -> JsonObject:
    return {"error": message}


def _text_and_type(
    status: int, code: str, message: str, parameter: str | None, error_type: str
) -> JsonObject:
    return {"error": message, "type": error_type, "code": code, "requestId": _REQUEST_ID.decode()}


def _integer_code(status: int, code: str, message: str, parameter: str | None, error_type: str) -> JsonObject:
    error = {"message": message, "type": error_type, "code": status, "param": parameter}
    return {"error": error, "status": status}


_SHAPES = {
    "missing_api_key": _openai,
    "invalid_api_key": _openai,
    "model_not_found": _openai,
    "invalid_resolution": _openai,
    "rate_limit_exceeded": _openai,
    "daily_rpd_limit_exceeded": _openai,
    "daily_usd_limit_exceeded": _openai,
    "prompt_too_long": _text_and_code,
    "missing_prompt": _text_only,
    "input_type_mismatch": _text_only,
    "IMAGE_INPUT_TOO_MANY": _text_and_type,
    "IMAGE_INPUT_TOO_LARGE": _text_and_type,
    "invalid_n": _integer_code,
}
