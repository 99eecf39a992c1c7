"""Every refusal that the service documents, in its documented body shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from .responses import JsonObject, Response, json_answer, text_answer

Route = Literal["images", "openai", "edit"]

_REQUEST_ID = b"<request id>"
MAX_BODY_BYTES = 4_400_000


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a failure of the sandbox
    """The service refuses a request: nothing is drawn and nothing is billed."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer

    def answer_for(self, request_id: str) -> Response:
        """Return the answer, with *request_id* filled in where its body has one."""
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
    """Build a refusal in the shape of *code*, else of *route*."""
    error: JsonObject = {"message": message, "type": error_type, "code": code}
    body: JsonObject
    match code:
        case "missing_prompt" | "input_type_mismatch":
            body = {"error": message}
        case "prompt_too_long":
            body = {"error": message, "code": code}
        case "IMAGE_INPUT_TOO_MANY" | "IMAGE_INPUT_TOO_LARGE":
            body = {"error": message, "type": error_type, "code": code, "requestId": _REQUEST_ID.decode()}
        case "invalid_n":
            body = {"error": {**error, "code": status, "param": parameter}, "status": status}
        case "model_not_found" | "invalid_resolution":
            body = {"error": {**error, "param": parameter}}
        case _ if route == "openai" or status in (401, 429):
            body = {"error": {**error, "param": parameter}}
        case _:
            body = {"error": {**error, "parameter": parameter}, "code": code}
    return Refusal(json_answer(body, status=status, headers=headers))


def insufficient_balance(required_usd: float) -> Refusal:
    """Build the 402, with the price of the request that could not be paid."""
    body = {"error": "Insufficient balance", "requiredBalance": required_usd, "status": 402}
    return Refusal(json_answer(body, status=402))


def body_too_large() -> Refusal:
    """Build the edge's plain-text 413, sent before the service sees the request."""
    return Refusal(text_answer("Request Entity Too Large\nFUNCTION_PAYLOAD_TOO_LARGE", status=413))
