"""The second origin: serve the files behind signed URLs and record every request."""

from __future__ import annotations

from aiohttp import web

from ..drawing.draw import Sketch
from ..faults.bodies import answer_instead
from ..faults.broken_writes import send_badly
from ..faults.kinds import FaultStage
from ..faults.rules import Fault, FaultTarget
from ..service import Service
from .exchange import HttpExchange
from .responses import Response, json_answer, text_answer
from .urls import Visit, file_answer

_MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_ANY_STAGE = frozenset({FaultStage.FILE, FaultStage.INSTEAD, FaultStage.WIRE})
MAX_VISITS = 100_000


async def serve_file(service: Service, exchange: HttpExchange) -> web.StreamResponse:
    """Serve one request to the second origin."""
    request = exchange.request
    sketch = _sketch(service, request)
    fault = None
    if isinstance(sketch, Sketch):
        fault = service.faults.pick(
            FaultTarget(route="files", model=sketch.model, prompt=sketch.prompt), _ANY_STAGE
        )
    answer = await _answer(service, request, sketch, fault)
    visit = Visit(
        method=request.method, path=request.path_qs, headers=dict(request.headers), status=answer.status
    )
    service.urls.visits.append(visit)
    del service.urls.visits[:-MAX_VISITS]
    if fault is None:
        return await exchange.send(answer)
    return (await send_badly(exchange, answer, fault)).response


def _sketch(service: Service, request: web.BaseRequest) -> Sketch | Response:
    if request.method not in {"GET", "HEAD"}:
        return json_answer({"error": "Method not allowed"}, status=405)
    folder, _, name = request.path.removeprefix("/").partition("/")
    if folder == "url_html":
        return text_answer(
            "<html><body>The file is being prepared.</body></html>", status=200, content_type="text/html"
        )
    if folder != "files":
        return json_answer({"error": "Not found"}, status=404)
    return service.urls.resolve(name, request.query)


async def _answer(
    service: Service, request: web.BaseRequest, sketch: Sketch | Response, fault: Fault | None
) -> Response:
    if isinstance(sketch, Response):
        return sketch
    if fault is not None and fault.stage is FaultStage.INSTEAD:
        return answer_instead(fault.kind, service.context(request.path), "")
    if fault is not None and fault.kind == "url_503":
        return text_answer("Slow down", status=503)
    headers = dict(request.headers)
    if fault is not None and fault.kind == "url_no_range":
        headers.pop("Range", None)
    return file_answer(await service.drawing_pool.image(sketch), _MEDIA_TYPES[sketch.image_format], headers)
