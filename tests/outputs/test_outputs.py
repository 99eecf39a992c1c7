"""Where images go: memory, or files that are whole and keep the names of others."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import PNG
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import Charge, OutputError
from nanogpt_images.outputs import DirectoryStore, MemoryStore, abandoned, existing_images, write_image

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b080002000301011100ffd9")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>'


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def numbered(index: int, total: int) -> str:
    return "fox" if total == 1 else f"fox-{index}"


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_memory_holds_what_was_written(slices: list[bytes]) -> None:
    """The bytes of an image are those of its slices, in order."""
    store = MemoryStore()
    sink = store.open(0)
    for data in slices:
        sink.write(data)
    (image,) = store.finish([0])
    assert image.data == b"".join(slices)
    assert image.size_bytes == len(image.data)


def test_memory_keeps_only_what_is_finished() -> None:
    """Images come in the order asked for; one that was begun twice has its second bytes; others are gone."""
    store = MemoryStore()
    for index, data in ((0, b"first"), (1, b"other"), (2, b"cut"), (0, PNG)):
        store.open(index).write(data)
    images = store.finish([1, 0])
    assert [(image.index, image.data) for image in images] == [(1, b"other"), (0, PNG)]
    assert (images[1].info.media_type, images[1].info.width, images[1].info.height) == ("image/png", 1, 1)
    with pytest.raises(KeyError):
        store.finish([2])


@pytest.mark.parametrize(
    ("data", "suffix"), [(PNG, ".png"), (JPEG, ".jpg"), (SVG, ".svg"), (b"who knows", ".bin")]
)
def test_a_file_appears_when_it_is_whole(tmp_path: Path, data: bytes, suffix: str) -> None:
    """While bytes arrive there is only a hidden file; then one whose suffix follows from the bytes."""
    store = DirectoryStore(tmp_path / "new" / "out", numbered, digest=True)
    sink = store.open(0)
    for byte in data:
        sink.write(bytes([byte]))
    (hidden,) = listing(tmp_path / "new" / "out")
    assert hidden.startswith(".")
    assert hidden.endswith(".part")
    (image,) = store.finish([0])
    assert image.path == tmp_path / "new" / "out" / f"fox{suffix}"
    assert image.path.read_bytes() == data
    assert (image.data, image.size_bytes, image.sha256) == (None, len(data), hashlib.sha256(data).hexdigest())
    assert listing(image.path.parent) == [image.path.name]


def test_only_finished_images_become_files(tmp_path: Path) -> None:
    """Of several images those that are complete get names; the rest leaves nothing behind."""
    store = DirectoryStore(tmp_path, numbered)
    for index in (0, 1, 1, 2):
        store.open(index).write(PNG)
    images = store.finish([0, 2])
    assert [image.sha256 for image in images] == [None, None]
    assert listing(tmp_path) == ["fox-0.png", "fox-2.png"]


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    """A generation that failed leaves no file, and discarding after finishing takes none away."""
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    store.open(1)
    store.discard()
    assert listing(tmp_path) == []
    store.open(0).write(PNG)
    store.finish([0])
    store.discard()
    assert listing(tmp_path) == ["fox.png"]


@pytest.mark.parametrize("links", [True, False])
def test_an_existing_file_is_kept(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without overwrite a number is added to the new name, also on file systems without hard links."""
    if not links:
        monkeypatch.setattr(os, "link", _refuse(errno.EPERM))
    names = []
    for _ in range(3):
        store = DirectoryStore(tmp_path, numbered)
        store.open(0).write(PNG)
        names += [image.path.name for image in store.finish([0])]
    assert names == ["fox.png", "fox_2.png", "fox_3.png"]
    assert listing(tmp_path) == sorted(names)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {PNG}


def test_an_existing_file_is_replaced_on_request(tmp_path: Path) -> None:
    """With overwrite the new image takes the old one's place."""
    (tmp_path / "fox.png").write_bytes(b"old")
    store = DirectoryStore(tmp_path, numbered, overwrite=True)
    store.open(0).write(PNG)
    store.finish([0])
    assert (tmp_path / "fox.png").read_bytes() == PNG
    assert listing(tmp_path) == ["fox.png"]


@pytest.mark.parametrize(
    "code",
    [errno.ENOENT, errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ENAMETOOLONG, errno.EROFS, errno.EDQUOT],
)
def test_a_name_that_cannot_be_given_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Only "no hard links here" asks for another way; whatever else fails is an error, and nothing has the name."""
    monkeypatch.setattr(os, "link", _refuse(code))
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    with pytest.raises(OutputError, match=f"cannot name .*{os.strerror(code)}"):
        store.finish([0])
    (kept,) = tmp_path.iterdir()
    assert store.kept[0].path == kept
    assert (kept.suffix, kept.read_bytes()) == (".part", PNG)


def test_a_temporary_file_that_is_gone_leaves_no_empty_file(tmp_path: Path) -> None:
    """Whoever removed the bytes, no empty file takes their place."""
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    (part,) = tmp_path.iterdir()
    part.unlink()
    with pytest.raises(OutputError, match="cannot name") as caught:
        store.finish([0])
    assert "whole" not in str(caught.value)
    assert store.kept == ()
    assert listing(tmp_path) == []


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_without_hard_links_no_file_is_ever_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """A failure, or an interrupt, between taking a name and moving the file there leaves the name free."""
    seen: list[list[str]] = []

    def broken(*_: object) -> None:
        seen.append([name for name in listing(tmp_path) if not name.startswith(".")])
        raise failure

    monkeypatch.setattr(os, "link", _refuse(errno.EPERM))
    monkeypatch.setattr(os, "replace", broken)
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        store.finish([0])
    assert seen == [[]]
    (kept,) = tmp_path.iterdir()
    assert (kept.suffix, kept.read_bytes()) == (".part", PNG)


def test_without_hard_links_a_name_goes_to_one_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that want the same name at the same moment do not replace each other, whatever its case."""
    monkeypatch.setattr(os, "link", _refuse(errno.ENOTSUP))
    replace, paths = os.replace, list[str]()

    def late(source: Path, target: Path) -> None:
        if not paths:
            paths.append("first")
            other = DirectoryStore(tmp_path, lambda _index, _total: "FOX")
            other.open(0).write(JPEG[:3] + PNG)
            other.open(0).write(PNG)
            paths.extend(image.path.name for image in other.finish([0]))
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    (image,) = store.finish([0])
    assert (image.path.name, paths) == ("fox.png", ["first", "FOX_2.png"])
    assert listing(tmp_path) == ["FOX_2.png", "fox.png"]


# It begins an image and says the name of its temporary file.
WRITER = """
import sys
from pathlib import Path
from nanogpt_images.outputs import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]), lambda index, total: "fox")
store.open(0).write(b"begun")
print(next(Path(sys.argv[1]).glob(".*.part")).name, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody can be asked about a process")
def test_only_what_a_dead_process_left_is_abandoned(tmp_path: Path) -> None:
    """The half-written file of a process that lives is left alone; once it is killed the file is free to go."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        part = tmp_path / process.stdout.readline().strip()
        assert part.read_bytes() == b"begun"
        assert abandoned(tmp_path) == []
        process.kill()
        # The parent has not asked for its end yet, and it writes nothing all the same.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert abandoned(tmp_path) == ([part] if Path("/proc").exists() else [])
        process.wait()
    assert abandoned(tmp_path) == [part]


def test_temporary_files_of_this_process_are_not_abandoned(tmp_path: Path) -> None:
    """Not even a day later: the process lives."""
    DirectoryStore(tmp_path, numbered).open(0)
    assert abandoned(tmp_path, clock=time.time() + 10**6) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_names_of_its_own(tmp_path: Path) -> None:
    """The temporary file of a child is the child's, and abandoned when that is gone."""
    DirectoryStore(tmp_path, numbered).open(0)
    (mine,) = tmp_path.iterdir()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_begin, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert [path for path in tmp_path.iterdir() if path != mine] == abandoned(tmp_path) != []


def _begin(directory: Path) -> None:
    DirectoryStore(directory, numbered).open(0)
    os._exit(0)


@pytest.mark.parametrize(
    "name", [".0badcafe-1-00000000-0.part", ".3f9a12c4-1a2b-9.part", ".fox.part", ".-.part", "..part"]
)
def test_what_cannot_be_asked_for_waits_a_day(tmp_path: Path, name: str) -> None:
    """Files of another machine, or of an older version, stay for as long as a request could last."""
    (tmp_path / name).touch()
    now = time.time()
    assert abandoned(tmp_path, clock=now + 3600) == []
    assert abandoned(tmp_path, clock=now + 2 * 86_400) == [tmp_path / name]


def test_a_pid_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    """A living process that has the PID of the one that wrote the file did not write it, where its start tells."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("the system does not say when a process began")
    DirectoryStore(tmp_path, numbered).open(0)
    (part,) = tmp_path.iterdir()
    machine, pid, _, number = part.name[1:].split("-")
    earlier = part.rename(tmp_path / f".{machine}-{pid}-00000000-{number}")
    assert abandoned(tmp_path) == [earlier]


def test_other_files_are_nobodys_business(tmp_path: Path) -> None:
    """However old, what is no temporary file stays."""
    for name in ("fox.png", "fox.part", ".hidden", ".part"):
        (tmp_path / name).touch()
    assert abandoned(tmp_path, clock=time.time() + 10**7) == []


def _refuse(code: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("begun", [0, 1, len(PNG) - 1])
def test_a_full_disk_does_not_lose_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    """What the disk does not take goes on in memory; the error at the end names the directory and has the image."""
    store = DirectoryStore(tmp_path, numbered, digest=True)
    sink = store.open(0)
    sink.write(PNG[:begun])
    monkeypatch.setattr(os, "write", _refuse(errno.ENOSPC))
    sink.write(PNG[begun:])
    with pytest.raises(OutputError, match=r"cannot write to .*: No space left on device") as caught:
        store.finish([0])
    assert caught.value.charge is Charge.NOT_SENT
    (image,) = store.kept
    assert (image.data, image.path, image.size_bytes, image.info.width) == (PNG, None, len(PNG), 1)
    assert image.sha256 == hashlib.sha256(PNG).hexdigest()
    assert listing(tmp_path) == []


def test_of_two_images_the_first_reaches_a_disk_that_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that was written before the disk was full has its file; the error tells both."""
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    monkeypatch.setattr(os, "write", _refuse(errno.ENOSPC))
    store.open(1).write(PNG)
    with pytest.raises(OutputError):
        store.finish([0, 1])
    first, second = store.kept
    assert first.path.read_bytes() == second.data == PNG


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system takes a slice in parts, all of it is written."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    store = DirectoryStore(tmp_path, numbered)
    store.open(0).write(PNG)
    assert store.finish([0])[0].path.read_bytes() == PNG


def test_a_directory_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    """A file where the directory should be is reported as such."""
    (tmp_path / "out").write_text("a file")
    for directory in (tmp_path / "out", tmp_path / "out" / "deeper"):
        store = DirectoryStore(directory, numbered)
        store.open(0).write(PNG)
        with pytest.raises(OutputError, match="cannot write to"):
            store.finish([0])


def test_a_whole_image_without_a_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When naming fails the bytes stay in the hidden file, which the error names."""
    store = DirectoryStore(tmp_path, numbered, overwrite=True)
    store.open(0).write(PNG)
    monkeypatch.setattr(os, "replace", _refuse(errno.EACCES))
    with pytest.raises(OutputError, match="The complete image is in") as caught:
        store.finish([0])
    (hidden,) = listing(tmp_path)
    assert hidden in str(caught.value)
    assert (tmp_path / hidden).read_bytes() == PNG


def test_the_size_is_found_behind_a_long_preamble(tmp_path: Path) -> None:
    """Dimensions that stand behind a large profile are read from the file."""
    profile = b"\xff\xe2" + (30_000).to_bytes(2, "big") + b"x" * 29_998
    store = DirectoryStore(tmp_path, numbered)
    sink = store.open(0)
    data = JPEG[:2] + profile + JPEG[2:]
    for start in range(0, len(data), 1000):
        sink.write(data[start : start + 1000])
    (image,) = store.finish([0])
    assert (image.info.width, image.info.height) == (3, 2)
    assert image.path.read_bytes() == data


@pytest.mark.parametrize(
    ("name", "data", "written"),
    [
        ("fox", PNG, "fox.png"),
        ("fox.png", PNG, "fox.png"),
        ("fox.PNG", PNG, "fox.PNG"),
        ("fox.png", JPEG, "fox.jpg"),
        ("fox.jpeg", JPEG, "fox.jpeg"),
        ("fox v1.5", PNG, "fox v1.5.png"),
        ("deep/er/fox", SVG, "deep/er/fox.svg"),
        ("fox.webp", b"?", "fox.bin"),
    ],
)
def test_the_suffix_follows_from_the_bytes(tmp_path: Path, name: str, data: bytes, written: str) -> None:
    """A saved image keeps a suffix that agrees with its bytes and loses one that does not."""
    assert write_image(data, tmp_path / name) == tmp_path / written
    assert (tmp_path / written).read_bytes() == data
    assert listing((tmp_path / written).parent) == [Path(written).name]


def test_saving_replaces_only_when_asked(tmp_path: Path) -> None:
    """Saving keeps a file of the same name and leaves none behind; asked to, it replaces it."""
    write_image(b"old", tmp_path / "fox.bin")
    with pytest.raises(OutputError, match=r"fox\.bin exists"):
        write_image(b"new", tmp_path / "fox")
    assert (tmp_path / "fox.bin").read_bytes() == b"old"
    assert write_image(b"newer", tmp_path / "fox", overwrite=True).read_bytes() == b"newer"
    assert listing(tmp_path) == ["fox.bin"]


def test_files_in_the_way_are_found(tmp_path: Path) -> None:
    """Only images of exactly that name, or the first of several of that name, are in the way; links to nowhere too."""
    for name in ("fox.png", "fox-0.jpg", "fox-12.webp", "fox-a.png", "foxes.png", "fox.txt", "a-fox.png"):
        (tmp_path / name).touch()
    (tmp_path / "fox.gif").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in existing_images(tmp_path, "fox")] == ["fox.png", "fox.gif", "fox-0.jpg"]
    assert [path.name for path in existing_images(tmp_path, "fox", 13)][-1] == "fox-12.webp"
    assert existing_images(tmp_path / "missing", "fox") == []
    assert existing_images(tmp_path / "fox.png", "fox") == []
