"""
Make the pictures of the README and the documentation: `python docs/pictures.py`.

A batch runs against the sandbox in a terminal of its own. What the terminal shows becomes `batch.svg`, an animation
without scripts; its gallery becomes `gallery.png` and `table.png`, and cells of a notebook `notebook.png`, by a browser.
Needs the groups `dev` and `docs` and Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import html
import itertools
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pyte
from playwright.async_api import async_playwright

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox

PICTURES = Path(__file__).parent / "pictures"
COLUMNS, LINES = 96, 14
SUBJECTS = {
    "fox": "a red fox asleep in fresh snow",
    "lighthouse": "a lighthouse in a winter storm",
    "city": "a city cut from folded white paper",
    "kettle": "a copper kettle on a blue stove",
    "reef": "a coral reef seen from below",
    "train": "a night train crossing a viaduct",
}
MODELS = ("gpt-image-2", "hidream", "krea-v2/turbo", "flux-1-dev")
STYLES = ("oil on canvas", "35 mm photograph", "woodcut in two colours", "watercolour")
COMMAND = "nanogpt-images batch prompts.jsonl -m gpt-image-2 -o out --budget 5"
PALETTE = {
    "default": "#d7dae0",
    "black": "#5c6370",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d7dae0",
}
CHARACTER, LINE, MARGIN = 8.4, 18, 16


@attrs.frozen
class Frame:
    """What the screen shows from `start_s` on: one list of (text, colour, bold) spans for each line."""

    start_s: float
    lines: tuple[tuple[tuple[str, str, bool], ...], ...]


def main() -> None:
    """Write `docs/pictures`."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Sandbox.in_thread(latency_s=(0.6, 2.5)) as sandbox:
        directory = Path(name)
        rows = [
            {"key": f"{key}-{number}", "prompt": f"{subject}, {style}"}
            for number, style in enumerate(STYLES)
            for key, subject in SUBJECTS.items()
        ]
        (directory / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        variables = {**os.environ, "NANOGPT_API_KEY": sandbox.api_key, "NANOGPT_BASE_URL": sandbox.url}
        frames = without_waiting(list(recorded(directory, variables)))
        (PICTURES / "batch.svg").write_text(animated(frames), "utf-8")
        asyncio.run(photographed((directory / "out" / "index.html").as_uri(), PICTURES / "gallery.png"))
        with ngi.Client(sandbox.api_key, sandbox.url) as client:
            compare(client, directory / "models")
            table = (directory / "models" / "index.html").as_uri() + "#view=table"
            asyncio.run(photographed(table, PICTURES / "table.png"))
            (directory / "notebook.html").write_text(notebook(client, directory), "utf-8")
        asyncio.run(
            photographed(
                (directory / "notebook.html").as_uri(), PICTURES / "notebook.png", width=860, whole=True
            )
        )


def compare(client: ngi.Client, out: Path) -> None:
    """Make four prompts with four models, and their gallery."""
    rows = ngi.sweep("{subject}", subject=list(SUBJECTS.values())[:4], model=list(MODELS))
    client.run_batch(rows, out=out)
    asyncio.run(ngi.write_gallery(out))


CELLS = (
    """result = client.images.generate(
    "a red fox asleep in fresh snow", model="gpt-image-2", n=2
)
result""",
    """prompts = [f"a {animal} in the snow" for animal in ("fox", "hare", "lynx", "bear")]
report = client.run_batch(prompts, model="hidream", out=out)
report""",
)


def notebook(client: ngi.Client, directory: Path) -> str:
    """Return a page that shows what a notebook shows under each of `CELLS`."""
    names = {"client": client, "out": directory / "animals"}
    shown = []
    for number, cell in enumerate(CELLS, 1):
        *before, last = cell.splitlines()
        exec("\n".join(before), names)  # noqa: S102 - the cells above
        value = eval(last, names)  # noqa: S307
        code = html.escape(cell.replace("out=out", 'out="animals"'))
        shown.append(f"<p>In [{number}]:</p><pre>{code}</pre><div>{value._repr_html_()}</div>")
    return f"<!doctype html><meta charset=utf-8><style>{NOTEBOOK_STYLE}</style>{''.join(shown)}"


NOTEBOOK_STYLE = (
    "body{font:14px system-ui,'DejaVu Sans',sans-serif;margin:16px 20px 4px;display:grid;"
    "grid-template-columns:64px 1fr;gap:6px 8px;color:#1f2328}"
    "p{margin:9px 0;color:#57606a;font:13px monospace}"
    "pre{margin:0;padding:9px 12px;background:#f6f8fa;border:1px solid #d0d7de;border-radius:4px;overflow:hidden}"
    "div{grid-column:2;min-width:0}body>div{margin-bottom:14px}"
)


def recorded(directory: Path, variables: dict[str, str]) -> Iterator[Frame]:
    """Run `COMMAND` in a terminal; yield the screen each time that it changed."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[32m$\x1b[0m {COMMAND}\r\n".encode())
    yield Frame(0.0, _lines(screen))
    words = [*COMMAND.split(), "--concurrency", "6"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    # The command is found on the path, as it is for a reader who has installed it.
    path = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    shape = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    environment = {**variables, **shape, "PATH": path}
    process = subprocess.Popen(
        [shutil.which(words[0], path=path) or words[0], *words[1:]],
        cwd=directory,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    started, shown = time.monotonic(), 0.0
    with contextlib.suppress(OSError):  # a terminal without a program is an input/output error on Linux
        while data := os.read(ours, 65536):
            stream.feed(data)
            now = time.monotonic() - started + 0.8
            if now - shown >= 0.2:
                shown = now
                yield Frame(now, _lines(screen))
    os.close(ours)
    if process.wait():
        raise SystemExit(f"the batch failed with {process.returncode}")
    yield Frame(time.monotonic() - started + 0.8, _lines(screen))


def without_waiting(frames: list[Frame], longest_s: float = 0.6) -> list[Frame]:
    """Return *frames* with gaps of at most *longest_s*: how busy this machine was is not the picture's subject."""
    moved = [frames[0]]
    for before, frame in itertools.pairwise(frames):
        gap = min(longest_s, frame.start_s - before.start_s)
        moved.append(attrs.evolve(frame, start_s=moved[-1].start_s + gap))
    return moved


def _lines(screen: pyte.Screen) -> tuple[tuple[tuple[str, str, bool], ...], ...]:
    return tuple(
        _spans([screen.buffer[number][column] for column in range(COLUMNS)]) for number in range(LINES)
    )


def _spans(characters: list[pyte.screens.Char]) -> tuple[tuple[str, str, bool], ...]:
    spans: list[tuple[str, str, bool]] = []
    for character in characters:
        colour = PALETTE.get(character.fg) or f"#{character.fg}"
        text, style = character.data, (colour, character.bold)
        if spans and spans[-1][1:] == style:
            spans[-1] = (spans[-1][0] + text, *style)
        else:
            spans.append((text, *style))
    while spans and not spans[-1][0].strip():
        spans.pop()
    return tuple(spans)


def animated(frames: list[Frame]) -> str:
    """Return an SVG that plays *frames*, rests for some seconds at the end, and begins again."""
    total = frames[-1].start_s + 6
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, LINES * LINE + 2 * MARGIN + 20
    rules, texts = [], []
    for number in range(LINES):
        for spans, start, end in _intervals(frames, number, total):
            name = f"t{len(texts)}"
            y = MARGIN + 20 + (number + 1) * LINE - 4
            body = "".join(_span(*span) for span in spans)
            kind = "m e" if end == total else "m"
            texts.append(f'<text class="{kind} {name}" x="{MARGIN}" y="{y}">{body}</text>')
            rules.append(_rule(name, start / total, end / total))
    # It begins with its end: what a page shows before anything moves, and what a viewer without animations shows.
    begin = f"animation-delay:-{total - 5:.1f}s"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img">',
            "<title>A terminal in which nanogpt-images runs a batch of 24 prompts</title>",
            "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}",
            f".m{{opacity:0;animation-duration:{total:.1f}s;animation-timing-function:step-end;animation-iteration-count:infinite;{begin}}}",
            ".e{opacity:1}",
            "@media (prefers-reduced-motion:reduce){.m{animation:none!important}}",
            *rules,
            "</style>",
            '<rect width="100%" height="100%" rx="8" fill="#1e2127"/>',
            *(
                f'<circle cx="{MARGIN + 4 + 18 * n}" cy="18" r="5" fill="{c}"/>'
                for n, c in enumerate(("#e06c75", "#e5c07b", "#98c379"))
            ),
            *texts,
            "</svg>\n",
        ]
    )


def _intervals(
    frames: list[Frame], number: int, total: float
) -> Iterator[tuple[tuple[tuple[str, str, bool], ...], float, float]]:
    """Yield what one line shows, from when, until when."""
    start, shown = 0.0, frames[0].lines[number]
    for frame in frames[1:]:
        if frame.lines[number] != shown:
            if shown:
                yield shown, start, frame.start_s
            start, shown = frame.start_s, frame.lines[number]
    if shown:
        yield shown, start, total


def _rule(name: str, start: float, end: float) -> str:
    if start == 0 and end == 1:
        return ""
    steps = [f"{100 * start:.2f}%{{opacity:1}}", f"{100 * end:.2f}%{{opacity:{int(end == 1)}}}"]
    if start > 0:
        steps.insert(0, "0%{opacity:0}")
    if end < 1:
        steps.append("100%{opacity:0}")
    return f"@keyframes {name}{{{''.join(steps)}}}.{name}{{animation-name:{name}}}"


def _span(text: str, colour: str, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<tspan fill="{colour}"{weight}>{html.escape(text)}</tspan>'


async def photographed(url: str, picture: Path, *, width: int = 1280, whole: bool = False) -> None:
    """Write *picture*, the upper part or the whole of the page at *url* as a browser on a desk shows it."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable)
        page = await browser.new_page(viewport={"width": width, "height": 200 if whole else 860})
        await page.goto(url)
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=picture, full_page=whole)
        await browser.close()


if __name__ == "__main__":
    main()
