"""
A model of the service: it bills by its own table and knows the truth of every request. It is the client's transport.

The transport keeps the promise of `nanogpt_images.transport.protocol`; what stands below it (sockets, TLS, aiohttp) is
not simulated. The service keeps that of docs/service.md: a refusal (4xx, 503) is never billed, a 500 may be.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from multidict import CIMultiDict
from world import PROCESS, World

from nanogpt_images.errors import ConnectError, OutcomeUnknownError, RequestTimeoutError

NANO = 1_000_000_000
URL_LIFE_S = 3_600.0
FILE_LIFE_S = 86_400.0
CONNECT_S = 15.0

# What can become of a paid request. The first is what should.
FATES = {
    "served": "",
    "no connection": "nothing was sent",
    "connection lost while sending": "the service has not got it",
    "answer lost": "billed, and the connection broke",
    "answer cut": "billed, and the answer ended early",
    "answer late": "billed, after the client's patience",
    "never answered": "not billed",
    "answer stalls": "billed, and the body stops for good",
    "429": "refused",
    "503": "refused",
    "408": "refused",
    "400 policy": "refused",
    "402": "refused",
    "daily cap": "refused until midnight",
    "500 silent": "billed or not, without a word",
    "500 billed": "billed, and says so",
    "500 free": "not billed, and says so",
    "500 doubtful": "billed, and says something that can be misread",
    "502 page": "billed or not, a page of HTML",
    "200 garbage": "billed, not JSON",
    "200 empty": "billed, no image",
    "200 page": "billed or not, a page of HTML",
    "fewer images": "billed",
    "more images": "billed as asked",
    "mixed links": "billed, some images behind URLs",
}


@dataclass
class Model:
    """A model as the service sells it; the price is in nano-USD per image."""

    id: str
    price: int
    n_max: int = 4
    fixed: int | None = None

    def images(self, n: int | None) -> int:
        """How many images a request with *n* makes."""
        return self.fixed if self.fixed else (n or 1)


@dataclass
class Post:
    """The truth about a paid request that reached the service."""

    number: int
    at: float
    process: object
    client: object
    model: str
    prompt: str
    n: int | None
    worst: int
    fate: str
    count: int = 0
    billed: int = 0
    open: bool = True
    images: list[bytes] = field(default_factory=list)
    whole: bool = False
    told_free: bool = False
    taken: bool = False
    linked: bool = False


class Answer:
    """The head of an answer, and its body piece by piece; *breaks* ends it."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = CIMultiDict(headers or {})
        self.cut: int | None = None
        self.stalls = False


def png(number: int) -> bytes:
    """An image of one pixel that holds *number*."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n" + _HEAD + chunk(b"tEXt", b"Comment\0%d" % number) + _DATA + chunk(b"IEND", b"")
    )


_HEAD = bytes.fromhex("0000000d49484452000000010000000108060000001f15c489")
_DATA = bytes.fromhex("0000000d49444154789c6360606060000000050001a5f64540")


class Service:
    """The service of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.models = {
            model.id: model
            for model in (
                Model("alpha", 10_000_000),
                Model("quartet", 4_000_000, fixed=4),
                Model("single", 25_000_000, n_max=1),
            )
        }
        self.posts: list[Post] = []
        self.starts: list[tuple[float, object, bool]] = []
        self.faults: list[str] = []
        self.fault_percent = 0.0
        self.free_fault_percent = 0.0
        self.storm: tuple[float, float, str] = (0.0, 0.0, "")
        self.latency_s = 0.5
        self.says_cost_percent = 100.0
        self.link_percent = 0.0
        self.capped_until = 0.0
        self.files: dict[str, tuple[bytes, float]] = {}
        self.images_made = 0
        self.refunded = 0
        self.owner_of: dict[bytes, Post] = {}
        self.on_arrival = lambda post: None

    # What the auditor asks.

    def billed(self) -> int:
        """Return what was charged in all (nano-USD)."""
        return sum(post.billed for post in self.posts)

    # The transport.

    def transport(self, timeout_s: float) -> Transport:
        """Make the transport of one client."""
        return Transport(self, timeout_s)

    def decide(self) -> str:
        """Draw the fate of the next request."""
        world, now = self.world, self.world.loop.now
        begin, end, fate = self.storm
        if begin <= now < end and world.choices.chance(90):
            return fate
        if self.faults and world.choices.chance(self.fault_percent):
            return world.choices.one_of(self.faults)
        return "served"

    def arrive(self, request, fate: str, client: object) -> Post:
        """Take a paid request whose body begins to arrive."""
        world = self.world
        body = json.loads(request.body)
        model = self.models.get(body["model"])
        n = body.get("n")
        count = model.images(n) if model else 0
        post = Post(
            number=len(self.posts) + 1,
            at=world.loop.now,
            process=PROCESS.get(),
            client=client,
            model=body["model"],
            prompt=body["prompt"],
            n=n,
            worst=model.price * count if model else 0,
            fate=fate,
            count=count,
        )
        self.posts.append(post)
        world.note(f"POST {post.number}", f"{post.prompt!r} {post.model} n={n} → {fate}")
        self.on_arrival(post)
        return post

    def bill(self, post: Post) -> None:
        """Charge *post*, and make its images."""
        post.billed = post.worst
        post.open = False
        self.world.note(f"billed POST {post.number}", post.billed)

    def refuse(self, post: Post) -> None:
        """Let *post* cost nothing."""
        post.open = False

    def make_images(self, post: Post, count: int) -> None:
        for _ in range(count):
            self.images_made += 1
            image = png(self.images_made)
            post.images.append(image)
            self.owner_of[image] = post

    def answer(self, post: Post, *, by_link: bool) -> Answer:
        """Write the answer of success to *post*."""
        world, fate = self.world, post.fate
        count = post.count
        if fate == "fewer images":
            count = max(1, count - 1)
        elif fate == "more images":
            count += 1
        self.make_images(post, count)
        entries = []
        for place, image in enumerate(post.images):
            if by_link or (fate == "mixed links" and place % 2 == 0):
                name = f"https://files.example/{self.images_made}-{place}.png"
                self.files[name] = (image, world.loop.now)
                entries.append({"url": name})
                post.linked = True
            else:
                entries.append({"b64_json": base64.b64encode(image).decode()})
        facts: dict[str, object] = {"created": int(WALL(world)), "data": entries, "paymentSource": "USD"}
        if world.choices.chance(100 - self.says_cost_percent):
            world.meet("cost left out")
        else:
            facts["cost"] = post.billed / NANO
        return Answer(200, json.dumps(facts).encode(), {"X-Request-ID": f"r{post.number}"})

    def refusal(self, fate: str) -> Answer:
        """Write the answer of failure that *fate* calls for."""
        choices = self.world.choices

        def error(status: int, code: str, message: str, **headers: str) -> Answer:
            body = json.dumps({"error": {"message": message, "code": code}}).encode()
            return Answer(status, body, headers)

        if fate == "429":
            wait = choices.one_of(("1", "", "5", "90"))
            return error(
                429, "rate_limit_exceeded", "Too many requests", **({"Retry-After": wait} if wait else {})
            )
        if fate == "daily cap":
            wall = WALL(self.world)
            self.capped_until = max(self.capped_until, self.world.loop.now + 86_400 - wall % 86_400)
            wait = f"{self.capped_until - self.world.loop.now:.0f}"
            return error(429, "daily_usd_limit_exceeded", "Daily limit", **{"Retry-After": wait})
        return {
            "503": lambda: error(503, "provider_transient_error", "Try again"),
            "408": lambda: error(408, "timeout", "Request timeout"),
            "400 policy": lambda: error(400, "content_policy_violation", "Refused"),
            "402": lambda: Answer(
                402, b'{"error":"Insufficient balance","requiredBalance":0.5,"status":402}'
            ),
            "500 silent": lambda: error(500, "server_error", "Something went wrong"),
            "500 billed": lambda: error(500, "server_error", "Failed. This request has been billed."),
            "500 free": lambda: error(500, "server_error", "Failed. You have not been charged."),
            "500 doubtful": lambda: error(500, "server_error", "Failed. You have not been charged yet."),
            "502 page": lambda: Answer(
                502, b"<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"}
            ),
            "404 model": lambda: error(404, "model_not_found", "No such model"),
        }[fate]()

    def free(self, request) -> Answer:
        """Answer a request that costs nothing."""
        parts = urlsplit(request.url)
        if parts.netloc == "files.example":
            return self._file(request.url)
        path = parts.path
        if path == "/api/v1/image-models":
            return _json({"object": "list", "data": [self._legacy(model) for model in self.models.values()]})
        if path == "/api/v1/images/models":
            return _json({"object": "list", "data": [self._listed(model) for model in self.models.values()]})
        if path.endswith("/endpoints"):
            model = self.models.get(path.split("/")[-2])
            return _json(self._offer(model)) if model else self.refusal("404 model")
        if path == "/api/check-balance":
            return _json({"usd_balance": f"{1_000 - self.billed() / NANO:.9f}"})
        if path == "/api/v1/usage":
            return self._usage(parse_qs(parts.query))
        return Answer(404, b'{"error":"nothing here"}')

    def _legacy(self, model: Model) -> dict:
        parameters: dict[str, object] = {
            "resolutions": ["1024x1024"],
            "max_images": model.fixed or model.n_max,
        }
        if model.fixed:
            parameters["fixed_image_count"] = model.fixed
        return {
            "id": model.id,
            "name": model.id.title(),
            "pricing": {"per_image": {"1024x1024": model.price / NANO}, "currency": "USD"},
            "supported_parameters": parameters,
        }

    def _listed(self, model: Model) -> dict:
        parameters: dict[str, object] = {
            "resolution": {"type": "enum", "values": ["1024x1024"], "default": "1024x1024"}
        }
        if not model.fixed:
            parameters["n"] = {"type": "range", "min": 1, "max": model.n_max, "default": 1}
        return {"id": model.id, "name": model.id.title(), "supported_parameters": parameters}

    def _offer(self, model: Model) -> dict:
        price = {"billable": "output_image", "unit": "image", "cost_usd": model.price / NANO}
        return {
            "id": model.id,
            "endpoints": [{"provider_name": "P", "supported_parameters": {}, "pricing": [price]}],
        }

    def _file(self, url: str) -> Answer:
        data, made_at = self.files[url]
        age = self.world.loop.now - made_at
        if age > URL_LIFE_S:
            return Answer(
                403 if age < FILE_LIFE_S else 404, b"expired", {"Date": _http_date(WALL(self.world))}
            )
        return Answer(200, data, {"Content-Length": str(len(data)), "ETag": f'"{len(data)}"'})

    def _usage(self, query) -> Answer:
        first, last = query["from"][0], query["to"][0]
        lines: dict[str, list[int]] = {}
        for post in self.posts:
            # The service has its own clock, which is right.
            day = datetime.fromtimestamp(TRUE_WALL(post.at), UTC).strftime("%Y-%m-%d")
            if post.billed and first <= day <= last:
                line = lines.setdefault(post.model, [0, 0])
                line[0] += 1
                line[1] += post.billed
        totals = [sum(line[place] for line in lines.values()) for place in (0, 1)]
        return _json(
            {
                "asOf": datetime.fromtimestamp(TRUE_WALL(self.world.loop.now), UTC).isoformat(),
                "source": {"missingRollupDays": []},
                "totals": {
                    "requests": totals[0],
                    "costUsd": totals[1] / NANO,
                    "refundedUsd": self.refunded / NANO,
                },
                "byModel": [
                    {"model": name.title(), "requests": count, "costUsd": cost / NANO, "refundedUsd": 0}
                    for name, (count, cost) in sorted(lines.items())
                ],
            }
        )


def WALL(world: World) -> float:  # noqa: N802
    return TRUE_WALL(world.loop.now)


def TRUE_WALL(now: float) -> float:  # noqa: N802
    from world import WALL_AT_START

    return WALL_AT_START + now


def _http_date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _json(document: object) -> Answer:
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


class Transport:
    """The way of one client to the service."""

    def __init__(self, service: Service, timeout_s: float) -> None:
        self.service = service
        self.timeout_s = timeout_s

    @asynccontextmanager
    async def send(self, request):
        service, world = self.service, self.service.world
        choices = world.choices
        deadline = world.loop.now + request.timeout_s
        process, post, counted = PROCESS.get(), None, False
        try:
            fate = service.decide() if request.paid else self._free_fate()
            if fate != "served":
                world.meet(fate)
            await asyncio.sleep(choices.between(0.001, 0.2))
            if fate == "no connection":
                raise _facts(ConnectError, request, "no connection")
            if request.paid:
                counted = True
                process.in_flight += 1
                if process.in_flight > process.concurrency:
                    world.violate("no more requests at once than allowed", f"{process.in_flight}")
                answer, post = await self._pay(request, fate, deadline)
            else:
                request.begin_body()
                answer = await self._ask(request, fate, deadline)
            yield _Response(answer, request, world, deadline, post)
        except asyncio.CancelledError:
            request.withheld = request.paid and not request.body_begun
            raise
        finally:
            if counted:
                process.in_flight -= 1

    async def aclose(self) -> None:
        pass

    def _free_fate(self) -> str:
        service = self.service
        if service.free_fault_percent and service.world.choices.chance(service.free_fault_percent):
            return service.world.choices.one_of(
                ("no connection", "free 500", "free 404", "free 429", "free cut", "free late")
            )
        return "served"

    async def _ask(self, request, fate: str, deadline: float) -> Answer:
        service, world = self.service, self.service.world
        if not request.url.startswith("https://files.example/"):
            service.starts.append((world.loop.now, self, False))
        if fate == "free late":
            await asyncio.sleep(max(0.0, deadline - world.loop.now))
            raise _facts(RequestTimeoutError, request, "no answer in time")
        await asyncio.sleep(world.choices.between(0.01, 0.3))
        if fate == "free 500":
            return Answer(500, b'{"error":"broken"}')
        if fate == "free 404":
            return Answer(404, b'{"error":"not there yet"}')
        if fate == "free 429":
            return Answer(429, b'{"error":{"code":"rate_limit_exceeded"}}', {"Retry-After": "1"})
        answer = service.free(request)
        if fate == "free cut" and len(answer.body) > 1:
            answer.cut = world.choices.below(len(answer.body))
        return answer

    async def _pay(self, request, fate: str, deadline: float) -> tuple[Answer, Post]:
        service, world = self.service, self.service.world
        loop, choices = world.loop, world.choices
        body = json.loads(request.body)
        if fate == "served" and service.capped_until > loop.now:
            fate = "daily cap"
        if body["model"] not in service.models:
            fate = "404 model"
        # The pace is judged where the first byte leaves.
        request.begin_body()
        service.starts.append((loop.now, self, True))
        post = service.arrive(request, fate, self)
        if fate == "connection lost while sending":
            service.refuse(post)
            raise _facts(OutcomeUnknownError, request, "the connection broke while the body was sent")
        work_s = choices.between(0.02, 2 * service.latency_s)
        if fate in ("429", "503", "408", "400 policy", "402", "daily cap", "500 free", "404 model"):
            service.refuse(post)
            await _until(loop, loop.now + work_s / 10, deadline, request)
            post.told_free = True
            return service.refusal(fate), post
        if fate == "never answered":
            service.refuse(post)
            await _until(loop, math_inf, deadline, request)
        may_be_free = fate in ("500 silent", "502 page", "200 page", "answer late", "answer lost")
        is_billed = not may_be_free or not choices.below(2)
        # What the service does goes on whatever becomes of the client.
        done_at = loop.now + (request.timeout_s + work_s if fate == "answer late" else work_s)
        settle = service.bill if is_billed else service.refuse
        PROCESS_NONE.run(loop.call_at, done_at, settle, post)
        if fate == "answer lost":
            await _until(loop, done_at + choices.between(0.0, 1.0), deadline, request)
            raise _facts(OutcomeUnknownError, request, "the connection broke")
        await _until(loop, done_at + 1e-3, deadline, request)
        if fate in ("500 silent", "500 billed", "500 doubtful", "502 page"):
            return service.refusal(fate), post
        if fate == "200 garbage":
            return Answer(200, b'{"data": [{"b64_json": "' + b"!" * 20), post
        if fate == "200 empty":
            return _json({"created": 1, "data": [], "cost": post.billed / NANO}), post
        if fate == "200 page":
            return Answer(200, b"<html><body>Welcome</body></html>", {"Content-Type": "text/html"}), post
        by_link = body.get("response_format") == "url" or choices.chance(service.link_percent)
        answer = service.answer(post, by_link=by_link)
        if fate == "answer cut":
            answer.cut = choices.below(len(answer.body))
        elif fate == "answer stalls":
            answer.cut, answer.stalls = choices.below(len(answer.body)), True
        else:
            post.whole = True
        return answer, post


class _Response:
    """An answer as the client reads it."""

    def __init__(self, answer: Answer, request, world: World, deadline: float, post: Post | None) -> None:
        self._post = post
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._request = request
        self._world = world
        self._deadline = deadline

    async def chunks(self):
        answer, world = self._answer, self._world
        loop, below = world.loop, world.choices.below
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        pieces = 1 + below(3)
        size = max(1, -(-len(body) // pieces))
        for start in range(0, len(body), size):
            await _until(loop, loop.now + 0.001, self._deadline, self._request)
            yield body[start : start + size]
        if answer.stalls:
            await _until(loop, math_inf, self._deadline, self._request)
        if answer.cut is not None:
            raise _facts(
                OutcomeUnknownError, self._request, "the connection broke within the answer", self.status
            )
        if self._post is not None and self._post.whole:
            self._post.taken = True


math_inf = float("inf")


async def _until(loop, moment: float, deadline: float, request) -> None:
    """Wait until *moment*; raise where the client's patience ends before."""
    if moment <= deadline:
        await asyncio.sleep(max(0.0, moment - loop.now))
        return
    await asyncio.sleep(max(0.0, deadline - loop.now))
    raise _facts(RequestTimeoutError, request, "no answer in time")


def _facts(kind, request, text: str, status: int | None = None):
    """Make the error of a transport: its charge follows from what was sent."""
    from nanogpt_images.errors import Charge

    charge = Charge.UNKNOWN if request.paid and request.body_begun else Charge.NOT_SENT
    return kind(f"{request.model or 'a free request'}: {text}.", charge=charge, status=status)


class _Nowhere:
    """The context of the service, in which no process dies."""

    @staticmethod
    def run(function, *args):
        import contextvars

        context = contextvars.copy_context()
        context.run(PROCESS.set, None)
        return function(*args, context=context)


PROCESS_NONE = _Nowhere()
