"""The kinds of faults: when each strikes, whether the request is billed, and what the client sees."""

from __future__ import annotations

import enum

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


_RESET = "TCP reset"
_CLOSED = "plain close"

KINDS: dict[str, Kind] = {
    # Before the body is read: never billed.
    "refuse": Kind(FaultStage.EARLY, False, f"{_CLOSED} without reading the body"),
    "reset_before_body": Kind(FaultStage.EARLY, False, f"{_RESET} without reading the body"),
    "reset_in_body": Kind(FaultStage.EARLY, False, f"{_RESET} after the first piece of the body"),
    "stall_before_body": Kind(
        FaultStage.EARLY,
        False,
        "the body is not read for after_s, then the request proceeds; without after_s, until the client disconnects",
    ),
    # Work done or refused, no usable answer.
    "reset_after_body": Kind(FaultStage.WIRE, True, f"{_RESET} after the whole body, no answer"),
    "close_after_body": Kind(FaultStage.WIRE, True, f"{_CLOSED} after the whole body, no answer"),
    "reset_after_body_unbilled": Kind(
        FaultStage.WIRE, False, f"{_RESET} after the whole body, no answer, no work done"
    ),
    "reset_in_headers": Kind(FaultStage.WIRE, True, f"{_RESET} in the middle of the response headers"),
    "reset_in_response_body": Kind(FaultStage.WIRE, True, f"{_RESET} halfway through the response body"),
    "close_in_response_body": Kind(FaultStage.WIRE, True, f"{_CLOSED} halfway through the response body"),
    "reset_before_last_byte": Kind(
        FaultStage.WIRE, True, f"{_RESET} with one byte of the response body missing"
    ),
    "reset_at_end": Kind(
        FaultStage.WIRE,
        True,
        f"the whole answer, then {_RESET}: a success on a connection that cannot be used again",
    ),
    "stall_before_headers": Kind(
        FaultStage.WIRE,
        True,
        "nothing for after_s, then the answer; without after_s, nothing until the client disconnects",
    ),
    "stall_in_headers": Kind(
        FaultStage.WIRE,
        True,
        f"half a header line, then nothing for after_s, then {_RESET}; without after_s, nothing until the client disconnects",
    ),
    "stall_in_body": Kind(FaultStage.WIRE, True, "half the response body, then as stall_before_headers"),
    "stall_before_last_byte": Kind(
        FaultStage.WIRE, True, "the response body but for one byte, then as stall_before_headers"
    ),
    "slow_drip": Kind(FaultStage.WIRE, True, "the response body in 64 slices, after_s (0.02) apart"),
    "not_http": Kind(FaultStage.WIRE, True, f"bytes that are not HTTP, then {_CLOSED}"),
    "endless_headers": Kind(FaultStage.WIRE, True, "response headers that never end"),
    "endless_body": Kind(FaultStage.WIRE, True, "a chunked JSON string that never ends"),
    "endless_5xx": Kind(FaultStage.WIRE, True, "500 with a chunked body that never ends"),
    # Complete HTTP, altered contents.
    "truncated_json": Kind(FaultStage.PAYLOAD, True, "complete HTTP, the JSON cut in the middle"),
    "garbage_base64": Kind(
        FaultStage.PAYLOAD, True, "b64_json holds characters that are not base64", "b64_json"
    ),
    "truncated_base64": Kind(
        FaultStage.PAYLOAD, True, "b64_json ends in the middle of a group of four", "b64_json"
    ),
    "broken_image": Kind(
        FaultStage.PAYLOAD, True, "the first b64_json is not base64, the others are whole", "b64_json"
    ),
    "empty_image": Kind(FaultStage.PAYLOAD, True, "the last b64_json is empty", "b64_json"),
    "unpadded_base64": Kind(FaultStage.PAYLOAD, True, "b64_json without padding", "b64_json"),
    "urlsafe_base64": Kind(FaultStage.PAYLOAD, True, "b64_json in the URL-safe alphabet", "b64_json"),
    "data_url": Kind(FaultStage.PAYLOAD, True, "b64_json with data:image/…;base64, before it", "b64_json"),
    "data_url_in_url": Kind(FaultStage.PAYLOAD, True, "url holds data:image/…;base64, and the image", "url"),
    "task_id": Kind(FaultStage.PAYLOAD, True, "the ID of a task to poll, and no data"),
    "event_stream": Kind(FaultStage.PAYLOAD, True, "server-sent events, the last of which holds the image"),
    "wrong_content_type": Kind(FaultStage.PAYLOAD, True, "the normal body as text/plain"),
    "fewer_images": Kind(FaultStage.PAYLOAD, True, "one image fewer than ordered, at least one"),
    "more_images": Kind(FaultStage.PAYLOAD, True, "one image more than ordered; billed as ordered"),
    "zero_images": Kind(FaultStage.PAYLOAD, True, "data is an empty list"),
    "missing_data": Kind(FaultStage.PAYLOAD, True, "no data field"),
    "not_an_image": Kind(FaultStage.PAYLOAD, True, "valid base64 of plain text", "b64_json"),
    "undeclared_jpeg": Kind(
        FaultStage.PAYLOAD, True, "a JPEG whatever format was requested, without saying so", "b64_json"
    ),
    "huge_dimensions": Kind(
        FaultStage.PAYLOAD, True, "a PNG header that claims 100,000 x 100,000 pixels", "b64_json"
    ),
    "null_entries": Kind(FaultStage.PAYLOAD, True, "null before and after the images in data"),
    "null_fields": Kind(
        FaultStage.PAYLOAD,
        True,
        "created, cost, paymentSource and remainingBalance are null, and so is the other form of each image",
    ),
    "unknown_fields": Kind(
        FaultStage.PAYLOAD, True, "further fields at every level, some holding deep structures"
    ),
    "data_last": Kind(
        FaultStage.PAYLOAD, True, "data comes after all other fields, with whitespace and escaped slashes"
    ),
    "millisecond_created": Kind(FaultStage.PAYLOAD, True, "created in milliseconds"),
    "decimal_string_money": Kind(FaultStage.PAYLOAD, True, "cost and remainingBalance as decimal strings"),
    "header_money": Kind(
        FaultStage.PAYLOAD, True, "cost in x-cost, balance in x-remaining-balance, neither in the body"
    ),
    "other_currency": Kind(
        FaultStage.PAYLOAD, True, "cost in XNO, forty times the number, with paymentSource and currency XNO"
    ),
    "nano_money": Kind(FaultStage.PAYLOAD, True, "paymentSource XNO, cost only in x-nano-cost"),
    "no_money": Kind(FaultStage.PAYLOAD, True, "neither cost nor balance anywhere"),
    "b64_fallback": Kind(FaultStage.PAYLOAD, True, "b64_json although url was requested", "url"),
    # URLs that do not work.
    "url_404": Kind(FaultStage.PAYLOAD, True, "a URL whose download answers 404", "url"),
    "url_html": Kind(FaultStage.PAYLOAD, True, "a URL whose download answers 200 with HTML", "url"),
    "url_expired": Kind(FaultStage.PAYLOAD, True, "a URL that has already expired", "url"),
    "url_cut": Kind(
        FaultStage.FILE, True, "the download breaks off halfway; the next one is whole or resumes"
    ),
    "url_reset": Kind(FaultStage.FILE, True, f"{_RESET} before the download answers"),
    "url_stall": Kind(FaultStage.FILE, True, "half the download, then as stall_before_headers"),
    "url_endless": Kind(FaultStage.FILE, True, "a download that never ends"),
    "url_503": Kind(FaultStage.FILE, True, "the download answers 503"),
    "url_no_range": Kind(
        FaultStage.FILE, True, "the download ignores Range and answers 200 with the whole file"
    ),
    # Other answers.
    "400": Kind(FaultStage.INSTEAD, False, "400 invalid request"),
    "content_policy": Kind(FaultStage.INSTEAD, False, "400 content_policy_violation"),
    "401": Kind(FaultStage.INSTEAD, False, "401 invalid_api_key"),
    "402": Kind(FaultStage.INSTEAD, False, "402 Insufficient balance"),
    "402_quote": Kind(FaultStage.INSTEAD, False, "402 with a payment quote"),
    "403": Kind(FaultStage.INSTEAD, False, "403 permission denied"),
    "404": Kind(FaultStage.INSTEAD, False, "404 model_not_found"),
    "408": Kind(FaultStage.INSTEAD, False, "408 request timeout"),
    "409": Kind(FaultStage.INSTEAD, False, "409 conflict"),
    "413": Kind(FaultStage.INSTEAD, False, "413 as plain text"),
    "429": Kind(FaultStage.INSTEAD, False, "429 rate_limit_exceeded, Retry-After 1"),
    "429_date": Kind(FaultStage.INSTEAD, False, "429 rate_limit_exceeded, Retry-After as an HTTP date"),
    "429_daily": Kind(FaultStage.INSTEAD, False, "429 daily_rpd_limit_exceeded, Retry-After until 00:00 UTC"),
    "429_daily_usd": Kind(
        FaultStage.INSTEAD, False, "429 daily_usd_limit_exceeded, Retry-After until 00:00 UTC"
    ),
    "500": Kind(FaultStage.INSTEAD, False, "500 that does not mention money"),
    "500_billed": Kind(FaultStage.INSTEAD, True, '500 that says "this request has been billed"'),
    "500_not_billed": Kind(FaultStage.INSTEAD, False, '500 that says "You have not been charged"'),
    "500_perhaps_billed": Kind(FaultStage.INSTEAD, True, '500 that says "You may have been charged"'),
    "500_billed_once": Kind(
        FaultStage.INSTEAD, True, '500 that says "This request has been billed. Retries are never charged."'
    ),
    "500_not_yet_billed": Kind(
        FaultStage.INSTEAD,
        True,
        '500 that says "You have not yet been charged; the image is still being generated."',
    ),
    "502": Kind(FaultStage.INSTEAD, True, "502 of a gateway, as HTML; the work was done behind it"),
    "503": Kind(FaultStage.INSTEAD, False, "503 provider_transient_error, Retry-After 1"),
    "503_deducted": Kind(FaultStage.INSTEAD, True, "503 that says that its price has already been deducted"),
    "503_limiter": Kind(FaultStage.INSTEAD, False, "503 rate_limiter_unavailable"),
    "504": Kind(FaultStage.INSTEAD, True, "504 of a gateway; the work was done behind it"),
    "524": Kind(FaultStage.INSTEAD, True, "524 of an edge, as HTML; the work was done behind it"),
    "html_5xx": Kind(FaultStage.INSTEAD, True, "500 as HTML"),
    "empty_5xx": Kind(FaultStage.INSTEAD, True, "500 with an empty body"),
    "html_200": Kind(FaultStage.INSTEAD, False, "200 with an HTML page, as a captive portal gives"),
    "integer_code": Kind(FaultStage.INSTEAD, False, "400 whose code is an integer, with status in the body"),
    "unknown_error_shape": Kind(FaultStage.INSTEAD, False, "400 whose body is a JSON array"),
    "redirect": Kind(FaultStage.INSTEAD, False, "307 to the second origin, which records what it is sent"),
    # Listings.
    "catalog_shrinks": Kind(FaultStage.LISTING, False, "every second model is missing from the listing"),
    "catalog_grows": Kind(
        FaultStage.LISTING, False, "entries that are null, text and of unknown shape in the listing"
    ),
    "catalog_renames": Kind(FaultStage.LISTING, False, "every second model goes by another ID"),
    "catalog_unknown_kinds": Kind(
        FaultStage.LISTING, False, "every model has parameters and prices of undocumented kinds"
    ),
    "catalog_huge": Kind(FaultStage.LISTING, False, "10,000 models, the configured ones first"),
}
