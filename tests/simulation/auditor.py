"""What must hold whatever happens: the books of the client against the truth of the service."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from pathlib import Path

import seams
from service import NANO, Post, Service
from world import World

ACCOUNTED = "cost_nano + earlier_cost_nano + reserved_nano + earlier_unknown_nano"


def _rows(path: Path, query: str, *args: object) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query, args).fetchall()
    finally:
        connection.close()


class Auditor:
    """Compares what the client wrote down with what the service knows."""

    def __init__(self, world: World, service: Service) -> None:
        self.world = world
        self.service = service

    def must(self, holds: object, rule: str, facts: object = "") -> None:
        """Fail the run where *rule* does not hold."""
        if not holds:
            self.world.violate(rule, str(facts() if callable(facts) else facts))

    # Pace.

    def pace(self, limit: int, *, window_s: float = 1.0, posts_only: bool = False) -> None:
        """No window of a second holds more starts than the limit."""
        times = [at for at, _, paid in self.service.starts if paid or not posts_only]
        for place in range(limit, len(times)):
            span = times[place] - times[place - limit]
            self.must(
                span >= window_s - 1e-9,
                "no second holds more starts than the limit",
                lambda p=place, s=span: f"{limit + 1} starts within {s:.4f} s, the last at {times[p]:.4f}",
            )

    # Processes.

    def gone(self, process) -> None:
        """A process that has ended left nothing behind."""
        left = [task for task in process.tasks if not task.done() and task is not process.task]
        self.must(not left, "nothing is left running", lambda: [task.get_coro() for task in left])
        self.must(not process.descriptors, "no descriptor is left open", process.descriptors)
        self.must(not process.connections, "no database is left open", process.connections)
        parts = [path.name for path in self.world.root.rglob(f".*-{process.pid:x}-*.part")]
        # Where the disk refuses a name, the image stays in its temporary file, and the error says so.
        self.must(
            not parts or self.world.met["disk error"] or self.world.met["disk full"],
            "no temporary file is left",
            parts,
        )

    # Batches.

    def read(self, out: Path) -> None:
        """Read the journal of *out* for the checks that follow."""
        self.book = self._journal(out)

    def journal(self, out: Path) -> dict[str, dict]:
        """What the journal of *out* said when it was read, by prompt."""
        del out
        return self.book

    def _journal(self, out: Path) -> dict[str, dict]:
        path = out / "journal.db"
        books: dict[str, dict] = defaultdict(
            lambda: {
                "nano": 0,
                "doubt": 0,
                "attempts": 0,
                "states": Counter(),
                "images": set(),
                "charges": Counter(),
            }
        )
        if not path.exists() or not path.stat().st_size:
            return books
        try:
            units = _rows(
                path,
                f"SELECT seq, row, state, charge, attempts, {ACCOUNTED},"
                " iif(state = 'done', 0, cost_nano + reserved_nano) + earlier_cost_nano + earlier_unknown_nano FROM unit",
            )
            images = _rows(path, "SELECT unit, sha256, file FROM image")
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return books
            raise
        prompts = {}
        for seq, row, state, charge, attempts, nano, doubt in units:
            prompts[seq] = prompt = json.loads(row)["prompt"]
            book = books[prompt]
            book["nano"] += nano
            book["doubt"] += doubt
            book["attempts"] += attempts
            book["states"][state] += 1
            if charge:
                book["charges"][charge] += 1
        for unit, sha256, file in images:
            if unit in prompts:
                books[prompts[unit]]["images"].add((sha256, file))
        return books

    def posts_by_prompt(self) -> dict[str, list[Post]]:
        """Group what reached the service by prompt."""
        found: dict[str, list[Post]] = defaultdict(list)
        for post in self.service.posts:
            found[post.prompt].append(post)
        return found

    def attempts(self, out: Path) -> None:
        """Every request that may be charged is an attempt in the journal."""
        books = self.journal(out)
        for prompt, posts in self.posts_by_prompt().items():
            billed = sum(bool(post.billed or post.open) for post in posts)
            attempts = books[prompt]["attempts"] if prompt in books else 0
            self.must(
                billed <= attempts,
                "every charged request is in the journal",
                lambda p=prompt, b=billed, a=attempts: (
                    f"{p!r}: {b} were charged, the journal has {a} attempts"
                ),
            )

    def books(self, out: Path, *, at_rest: bool) -> None:
        """Every charge is in the journal, and what it has not brought to the disk is in doubt there."""
        books = self.journal(out)
        for prompt, posts in self.posts_by_prompt().items():
            book = books.get(prompt)
            billed = sum(post.billed or (post.worst if post.open else 0) for post in posts)
            nano = book["nano"] if book else 0
            self.must(
                nano >= billed,
                "every charge is in the journal",
                lambda p=prompt, b=billed, n=nano: f"{p!r}: {b} nano-USD were charged, the journal has {n}",
            )
            if not at_rest or book is None:
                continue
            known = {sha256 for sha256, _ in book["images"]}
            missing = sum(
                post.billed
                for post in posts
                if post.billed
                and (
                    not post.images
                    or any(hashlib.sha256(image).hexdigest() not in known for image in post.images)
                )
            )
            self.must(
                book["doubt"] >= missing,
                "every charged image is on disk, or its request is in doubt",
                lambda p=prompt, m=missing, b=book: (
                    f"{p!r}: {m} nano-USD brought nothing, {b['doubt']} are in doubt {dict(b['states'])}"
                ),
            )

    def answered(self, out: Path) -> None:
        """What was answered whole to a process that was left alone is on the disk, and is not unknown."""
        met = self.world.met
        if met["disk error"] or met["disk full"] or met["power cut"]:
            return
        books = self.journal(out)
        # One that dies between its intent and its POST leaves an unknown outcome behind.
        interrupted = any(process.disturbed for process in self.world.processes)
        for prompt, posts in self.posts_by_prompt().items():
            book = books[prompt]
            known = {sha256 for sha256, _ in book["images"]}
            undisturbed = [post for post in posts if post.taken and not post.process.disturbed]
            for post in undisturbed:
                made = {hashlib.sha256(image).hexdigest() for image in post.images}
                self.must(
                    post.linked or made <= known,
                    "an answer that came whole is on the disk",
                    f"{prompt!r}: POST {post.number}",
                )
            self.must(
                len(undisturbed) < len(posts) or interrupted or not book["states"]["unknown"],
                "what was answered is not unknown",
                f"{prompt!r}: {dict(book['states'])}",
            )

    def report(self, process, report) -> None:
        """The numbers of a run cover what was charged to it."""
        posts = [post for post in self.service.posts if post.process is process]
        billed = sum(post.billed or (post.worst if post.open else 0) for post in posts)
        told = round((report.cost_usd + report.unknown_usd) * NANO)
        self.must(told >= billed, "a run's report covers its charges", f"{told} told, {billed} charged")

    def files(self, out: Path) -> None:
        """Every image of the journal is on disk, as the service made it for that prompt."""
        made = {hashlib.sha256(image).hexdigest(): post for image, post in self.service.owner_of.items()}
        seen: dict[str, str] = {}
        for prompt, book in self.journal(out).items():
            for sha256, file in sorted(book["images"]):
                path = out / file
                self.must(path.exists(), "every image of the journal is on disk", f"{file} is missing")
                data = path.read_bytes()
                self.must(
                    hashlib.sha256(data).hexdigest() == sha256,
                    "a file holds what the journal says",
                    f"{file}: {len(data)} bytes",
                )
                post = made.get(sha256)
                self.must(
                    post is not None and post.prompt == prompt,
                    "an image is of its prompt",
                    f"{file} of {prompt!r}",
                )
                self.must(file not in seen, "a file is one image's", file)
                seen[file] = sha256

    def listed(self, out: Path) -> None:
        """`results.jsonl` lists the images of the journal, each once."""
        path = out / "results.jsonl"
        raw = path.read_bytes() if path.exists() else b""
        try:
            lines = [json.loads(line) for line in raw.splitlines()]
        except ValueError:
            self.must(False, "results.jsonl is JSON", raw[:300])
            return
        told = Counter((line["prompt"], line["sha256"], line["file"]) for line in lines)
        known = Counter(
            (prompt, sha256, file)
            for prompt, book in self.journal(out).items()
            for sha256, file in book["images"]
        )
        self.must(
            told == known,
            "results.jsonl and the journal agree",
            lambda: f"only listed: {dict(told - known)}, only in the journal: {dict(known - told)}",
        )
        cost = sum(round(line["cost_usd"] * NANO) for line in lines)
        paid = _rows(out / "journal.db", "SELECT coalesce(sum(cost_nano), 0) FROM image")[0][0]
        self.must(
            abs(cost - paid) <= len(lines), "results.jsonl has the costs of the journal", f"{cost} and {paid}"
        )

    def in_flight(self, out: Path, most: int) -> None:
        """At a crash no more requests can become unknown than were in flight."""
        path = out / "journal.db"
        if not path.exists() or not path.stat().st_size:
            return
        try:
            ((sent,),) = _rows(path, "SELECT count(*) FROM unit WHERE state = 'sent'")
        except sqlite3.OperationalError:
            return
        self.must(sent <= most, "unknown ≤ in flight at the crash", f"{sent} of {most}")

    def bought(self, allowed: dict[str, int], *, by_request: bool) -> None:
        """
        No image is paid for more often than somebody asked for it.

        Where half of the catalogue was missing the client cannot know that a model makes more images than it asks
        for: then requests count *by request*.
        """
        for prompt, posts in self.posts_by_prompt().items():
            images = sum((post.n or 1) if by_request else post.count for post in posts if post.billed)
            self.must(
                images <= allowed.get(prompt, 0),
                "nothing is paid for twice",
                lambda p=prompt, i=images: f"{p!r}: {i} images were charged, {allowed.get(p, 0)} asked for",
            )

    def ended(self, out: Path, *, same: bool, changed: bool) -> None:
        """
        After a calm run nothing is open.

        Where models are not the *same* any more, some requests cannot be made; of a *changed* manifest's rows some may
        have been left.
        """
        for prompt, book in self.journal(out).items():
            # With a clock that was wrong the life of a URL seems longer, and its refusal not yet final.
            linked = () if self.world.met["clock set"] else ("linked",)
            states = ("sent", *linked) if changed else ("pending", "sent", *linked)
            left = {state: count for state, count in book["states"].items() if state in states}
            self.must(not left, "a calm run leaves nothing open", f"{prompt!r}: {left}")
            free = book["charges"]["rejected"] + book["charges"]["not_sent"]
            self.must(
                not (same and free),
                "a calm run makes what failed without a charge",
                f"{prompt!r}: {dict(book['charges'])}",
            )

    def sums(self, out: Path) -> None:
        """The sums that the journal keeps are those of its units."""
        path = out / "journal.db"
        kept = _rows(
            path,
            "SELECT state, charge, units, cost_nano, reserved_nano, unknown_nano FROM tally WHERE units > 0",
        )
        real = _rows(
            path,
            "SELECT state, charge, count(*), sum(cost_nano + earlier_cost_nano), sum(reserved_nano),"
            " sum(earlier_unknown_nano) FROM unit GROUP BY state, charge",
        )
        self.must(
            sorted(kept) == sorted(real), "the journal's sums are those of its units", f"{kept} and {real}"
        )

    # Calls.

    def call(
        self,
        prompt: str,
        error: BaseException | None,
        result: object,
        *,
        loose: bool,
        attempts: int,
        seconds: float,
    ) -> None:
        """A call says the truth about its money; *loose* policies may pay again for what is unknown."""
        posts = [post for post in self.service.posts if post.prompt == prompt]
        billed = [post for post in posts if post.billed or post.open]
        self.must(
            len(posts) <= attempts, "a call makes its attempts and no more", f"{prompt!r}: {len(posts)}"
        )
        self.must(seconds < 1_200, "a call ends in bounded time", f"{prompt!r}: {seconds:.0f} s")
        again = [post.fate for post in posts[:-1] if post.fate not in ("429", "503", "408", "500 free")]
        self.must(loose or not again, "only what says later is sent again", f"{prompt!r}: {again}")
        if not loose:
            self.must(
                len(billed) <= 1, "a call is paid for once", f"{prompt!r}: {[post.number for post in billed]}"
            )
        if error is None:
            self.must(len(billed) >= 1, "a result was paid for", f"{prompt!r}")
            for image in result.images:
                if image.data is not None:
                    owner = self.service.owner_of.get(image.data)
                    self.must(
                        owner is not None and owner.prompt == prompt, "an image is of its call", f"{prompt!r}"
                    )
            last = billed[-1]
            if result.cost_usd is not None:
                self.must(
                    round(result.cost_usd * NANO) == last.billed,
                    "a result says what it cost",
                    f"{prompt!r}: {result.cost_usd}",
                )
            return
        charge = getattr(error, "charge", None)
        if charge is None:
            return
        free = charge.value in ("not_sent", "rejected")
        if not loose:
            self.must(
                not (free and billed),
                "a failure that cost nothing cost nothing",
                lambda: (
                    f"{prompt!r}: {type(error).__name__} says {charge.value}, POST {billed[0].number} was charged"
                ),
            )
            self.must(
                not (charge.value == "charged" and not billed),
                "what is said to be charged was charged",
                lambda: f"{prompt!r}: {type(error).__name__}: {error}",
            )


def no_locks(world: World, folder: Path) -> list[str]:
    """Name the lock files in *folder* that are still locked."""
    del world
    return [path.name for path in folder.glob(".locks/*") if not seams.unlocked(path)]
