"""The kinds of faults: when each strikes, whether the request is billed, and what the client sees."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class FaultStage(enum.Enum):
    """When in the life of a request a fault strikes."""

    EARLY = "before the request body is read"
    INSTEAD = "an error or a page replaces the images"
    PAYLOAD = "the success body is altered"
    WIRE = "the answer is written badly"
    FILE = "the download of a signed URL"
    LISTING = "a listing of the catalogue is altered"


@attrs.frozen
class Kind:
    """
    One kind of fault.

    Args:
        stage: When it strikes.
        billed: Whether the request is billed, unless the rule overrides it.
        effect: What the client sees.
        delivery: `b64_json` or `url` if it applies to one delivery only; None applies to both.
    """

    stage: FaultStage
    billed: bool
    effect: str
    delivery: str | None = None


_KINDS: Mapping[tuple[FaultStage, bool, str | None], Mapping[str, str]] = {
    (FaultStage.EARLY, False, None): {
        "refuse": "plain close without reading the body",
        "reset_before_body": "TCP reset without reading the body",
        "reset_in_body": "TCP reset after the first piece of the body",
        "stall_before_body": "the body is not read for after_s, then the request proceeds; without after_s, until the client disconnects",
    },
    (FaultStage.WIRE, True, None): {
        "reset_after_body": "TCP reset after the whole body, no answer",
        "close_after_body": "plain close after the whole body, no answer",
        "reset_in_headers": "TCP reset in the middle of the response headers",
        "reset_in_response_body": "TCP reset halfway through the response body",
        "close_in_response_body": "plain close halfway through the response body",
        "reset_before_last_byte": "TCP reset with one byte of the response body missing",
        "reset_at_end": "the whole answer, then TCP reset: a success on a connection that cannot be used again",
        "stall_before_headers": "nothing for after_s, then the answer; without after_s, nothing until the client disconnects",
        "stall_in_headers": "half a header line, then nothing for after_s, then TCP reset; without after_s, nothing until the client disconnects",
        "stall_in_body": "half the response body, then as stall_before_headers",
        "stall_before_last_byte": "the response body but for one byte, then as stall_before_headers",
        "slow_drip": "the response body in 64 slices, after_s (0.02) apart",
        "not_http": "bytes that are not HTTP, then plain close",
        "endless_headers": "response headers that never end",
        "endless_body": "a chunked JSON string that never ends",
        "endless_5xx": "500 with a chunked body that never ends",
    },
    (FaultStage.WIRE, False, None): {
        "reset_after_body_unbilled": "TCP reset after the whole body, no answer, no work done",
    },
    (FaultStage.PAYLOAD, True, None): {
        "truncated_json": "complete HTTP, the JSON cut in the middle",
        "task_id": "the ID of a task to poll, and no data",
        "event_stream": "server-sent events, the last of which holds the image",
        "wrong_content_type": "the normal body as text/plain",
        "fewer_images": "one image fewer than ordered, at least one",
        "more_images": "one image more than ordered; billed as ordered",
        "zero_images": "data is an empty list",
        "missing_data": "no data field",
        "null_entries": "null before and after the images in data",
        "null_fields": "created, cost, paymentSource and remainingBalance are null, and so is the other form of each image",
        "unknown_fields": "further fields at every level, some holding deep structures",
        "data_last": "data comes after all other fields, with whitespace and escaped slashes",
        "millisecond_created": "created in milliseconds",
        "decimal_string_money": "cost and remainingBalance as decimal strings",
        "header_money": "cost in x-cost, balance in x-remaining-balance, neither in the body",
        "other_currency": "cost in XNO, forty times the number, with paymentSource and currency XNO",
        "nano_money": "paymentSource XNO, cost only in x-nano-cost",
        "no_money": "neither cost nor balance anywhere",
    },
    (FaultStage.PAYLOAD, True, "b64_json"): {
        "garbage_base64": "b64_json holds characters that are not base64",
        "truncated_base64": "b64_json ends in the middle of a group of four",
        "broken_image": "the first b64_json is not base64, the others are whole",
        "empty_image": "the last b64_json is empty",
        "unpadded_base64": "b64_json without padding",
        "urlsafe_base64": "b64_json in the URL-safe alphabet",
        "data_url": "b64_json with data:image/…;base64, before it",
        "not_an_image": "valid base64 of plain text",
        "undeclared_jpeg": "a JPEG whatever format was requested, without saying so",
        "huge_dimensions": "a PNG header that claims 100,000 x 100,000 pixels",
    },
    (FaultStage.PAYLOAD, True, "url"): {
        "data_url_in_url": "url holds data:image/…;base64, and the image",
        "b64_fallback": "b64_json although url was requested",
        "url_404": "a URL whose download answers 404",
        "url_html": "a URL whose download answers 200 with HTML",
        "url_expired": "a URL that has already expired",
    },
    (FaultStage.FILE, True, None): {
        "url_cut": "the download breaks off halfway; the next one is whole or resumes",
        "url_reset": "TCP reset before the download answers",
        "url_stall": "half the download, then as stall_before_headers",
        "url_endless": "a download that never ends",
        "url_503": "the download answers 503",
        "url_no_range": "the download ignores Range and answers 200 with the whole file",
    },
    (FaultStage.INSTEAD, False, None): {
        "400": "400 invalid request",
        "content_policy": "400 content_policy_violation",
        "401": "401 invalid_api_key",
        "402": "402 Insufficient balance",
        "402_quote": "402 with a payment quote",
        "403": "403 permission denied",
        "404": "404 model_not_found",
        "408": "408 request timeout",
        "409": "409 conflict",
        "413": "413 as plain text",
        "429": "429 rate_limit_exceeded, Retry-After 1",
        "429_date": "429 rate_limit_exceeded, Retry-After as an HTTP date",
        "429_daily": "429 daily_rpd_limit_exceeded, Retry-After until 00:00 UTC",
        "429_daily_usd": "429 daily_usd_limit_exceeded, Retry-After until 00:00 UTC",
        "500": "500 that does not mention money",
        "500_not_billed": '500 that says "You have not been charged"',
        "503": "503 provider_transient_error, Retry-After 1",
        "503_limiter": "503 rate_limiter_unavailable",
        "html_200": "200 with an HTML page, as a captive portal gives",
        "integer_code": "400 whose code is an integer, with status in the body",
        "unknown_error_shape": "400 whose body is a JSON array",
        "redirect": "307 to the second origin, which records what it is sent",
    },
    (FaultStage.INSTEAD, True, None): {
        # The work was done, and only its answer lost: most often behind a gateway.
        "500_billed": '500 that says "this request has been billed"',
        "500_perhaps_billed": '500 that says "You may have been charged"',
        "500_billed_once": '500 that says "This request has been billed. Retries are never charged."',
        "500_not_yet_billed": '500 that says "You have not yet been charged; the image is still being generated."',
        "502": "502 of a gateway, as HTML; the work was done behind it",
        "503_deducted": "503 that says that its price has already been deducted",
        "504": "504 of a gateway; the work was done behind it",
        "524": "524 of an edge, as HTML; the work was done behind it",
        "html_5xx": "500 as HTML",
        "empty_5xx": "500 with an empty body",
    },
    (FaultStage.LISTING, False, None): {
        "catalog_shrinks": "every second model is missing from the listing",
        "catalog_grows": "entries that are null, text and of unknown shape in the listing",
        "catalog_renames": "every second model goes by another ID",
        "catalog_unknown_kinds": "every model has parameters and prices of undocumented kinds",
        "catalog_huge": "10,000 models, the configured ones first",
    },
}
KINDS: dict[str, Kind] = {
    name: Kind(stage, billed, effect, delivery)
    for (stage, billed, delivery), effects in _KINDS.items()
    for name, effect in effects.items()
}
