"""The blocking client is the async one without await: same names, same parameters, from anywhere."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blockbuster import BlockBuster

import nanogpt_images as ngi
from nanogpt_images.resources import account, catalog, images
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox
from nanogpt_images.sync import client as sync

PAIRS = [
    (images.Images, sync.Images, set[str]()),
    (catalog.Catalog, sync.Catalog, {"aclose", "cached"}),
    (account.Account, sync.Account, set[str]()),
    (ngi.AsyncClient, ngi.Client, {"aclose"}),
]


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    return [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "self"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


@pytest.fixture
def client(sandbox: BlockingSandbox) -> Iterator[ngi.Client]:
    with ngi.Client(sandbox.api_key, sandbox.url) as made:
        yield made


@pytest.mark.parametrize(("asynchronous", "blocking", "inner"), PAIRS)
def test_every_public_method_has_its_twin(asynchronous: type, blocking: type, inner: set[str]) -> None:
    """Each public method of the async class exists on the blocking one with the same parameters."""
    names = {
        name for name, value in vars(asynchronous).items() if inspect.isfunction(value) and name[0] != "_"
    }
    for name in names - inner:
        assert _parameters(getattr(asynchronous, name)) == _parameters(getattr(blocking, name)), name


def test_constructors_take_the_same_arguments() -> None:
    """`Client` is made exactly as `AsyncClient` is."""
    assert _parameters(ngi.Client) == _parameters(ngi.AsyncClient)


async def test_works_while_a_loop_is_running(client: ngi.Client, blockbuster: BlockBuster) -> None:
    """In a notebook's cell, where a loop runs in the same thread, a call blocks and returns its result."""
    blockbuster.deactivate()
    assert asyncio.get_running_loop().is_running()
    assert client.images.generate("a red fox", model="tiny-and-fast").images[0].data


def test_threads_share_a_client(client: ngi.Client) -> None:
    """Many threads may call one client at once."""
    with ThreadPoolExecutor(8) as threads:
        results = list(
            threads.map(lambda n: client.images.generate(f"fox {n}", model="tiny-and-fast"), range(24))
        )
    assert all(len(result.images) == 1 for result in results)
    assert client.catalog.get("gpt-image-2").id == "gpt-image-2"


def test_url_images_download_when_saved(client: ngi.Client, tmp_path: Path) -> None:
    """An image behind a URL is fetched by save and by read."""
    result = client.images.generate_openai("a red fox", model="hidream", response_format="url")
    image = result.images[0]
    assert image.data is None
    assert image.save(tmp_path / "fox").read_bytes() == image.read()


def test_errors_cross_unchanged(sandbox: BlockingSandbox, client: ngi.Client) -> None:
    """An error keeps its class and its charge, and what was saved comes with methods that block."""
    with pytest.raises(ngi.ParameterError):
        client.images.generate("a red fox", model="gpt-image-2", n=9)
    sandbox.set_faults(Fault("garbage_base64", times=1))
    with pytest.raises(ngi.ResponseDecodeError) as caught:
        client.images.generate("a red fox", model="gpt-image-2", n=2)
    sandbox.set_faults()
    assert caught.value.charge is ngi.Charge.CHARGED
    partial = caught.value.partial
    assert partial is None or isinstance(partial, ngi.BlockingResult)


def test_batch_is_a_plain_loop(client: ngi.Client, tmp_path: Path) -> None:
    """A batch is entered, iterated and left without a word of async."""
    rows = [{"prompt": f"fox {number}", "model": "tiny-and-fast"} for number in range(10)]
    with client.batch(rows, out=tmp_path, concurrency=4) as run:
        states = [event.state.value for event in run]
    assert states == ["done"] * 10
    assert run.report.images == 10


def test_leaving_a_batch_early_keeps_what_was_paid(client: ngi.Client, tmp_path: Path) -> None:
    """After a break nothing more is sent, and the rerun makes exactly the rest."""
    rows = [{"prompt": f"hare {number}", "model": "tiny-and-fast"} for number in range(30)]
    with client.batch(rows, out=tmp_path, concurrency=2) as run:
        for _ in run:
            break
    done = len(list((tmp_path / "images").iterdir()))
    assert 1 <= done < 30
    assert client.run_batch(rows, out=tmp_path).requests == 30 - done


def test_results_can_be_pickled(client: ngi.Client) -> None:
    """A result crosses to another process without its client."""
    result = client.images.generate("a red fox", model="tiny-and-fast")
    again = pickle.loads(pickle.dumps(result))
    assert again.images[0].data == result.images[0].data


def test_closed_client_says_so(sandbox: BlockingSandbox) -> None:
    """After close a call is a clear error, and no thread is left."""
    before = set(threading.enumerate())
    client = ngi.Client(sandbox.api_key, sandbox.url)
    client.catalog.list()
    client.close()
    with pytest.raises(ngi.ConfigurationError, match="closed"):
        client.catalog.list()
    # The loop's thread is joined by close; those that the loop used for a while are told to end.
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_unused_client_starts_no_thread() -> None:
    """A client that is made and closed without a call costs no thread."""
    before = threading.active_count()
    with ngi.Client("sk-nano-unused", "http://127.0.0.1:9"):
        assert threading.active_count() == before


def test_both_clients_offer_the_same_names() -> None:
    """No attribute of one client is missing on the other, but for how it is closed."""
    asynchronous, blocking = (
        {name for name in dir(kind) if name[0] != "_"} for kind in (ngi.AsyncClient, ngi.Client)
    )
    assert asynchronous - {"aclose"} == blocking - {"close"}


MISTAKES: dict[str, tuple[Callable[[ngi.Client], object], str]] = {
    "model": (
        lambda client: client.images.generate("a fox", model="tiny-and-fsat"),
        "near matches: tiny-and-fast",
    ),
    "model of the catalogue": (lambda client: client.catalog.get("tiny-and-fsat"), "near matches"),
    "size": (
        lambda client: client.images.generate("a fox", model="tiny-and-fast", size="1x1"),
        "use resolution=",
    ),
    "parameter": (
        lambda client: client.images.generate("a fox", model="tiny-and-fast", resoluton="1x1"),
        r"takes no resoluton=; did you mean resolution=\?",
    ),
    "unlike any parameter": (
        lambda client: client.images.edit("a fox", image="fox.png", whatever=1),
        "unexpected keyword argument 'whatever'",
    ),
    "option of a batch": (
        lambda client: client.run_batch([], concurency=3),
        "unexpected keyword argument 'concurency'",
    ),
    "row of a batch": (
        lambda client: _events_of(client, {"prompt": "a fox", "resoluton": "1x1"}),
        "did you mean",
    ),
    "directory of a batch": (lambda client: _events_of(client, "a fox", out=__file__), "test_client.py"),
    "a download": (lambda client: _expired_image(client).read(), "404"),
}


def _events_of(client: ngi.Client, *rows: object, out: str | None = None) -> list[object]:
    with client.batch(rows, out=out, model="tiny-and-fast") as run:  # type: ignore[arg-type]
        return list(run)


def _expired_image(client: ngi.Client) -> sync.BlockingImage:
    made = client.images.generate_openai("url_404", model="tiny-and-fast", response_format="url")
    return made.images[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_a_short_traceback(
    client: ngi.Client, sandbox: BlockingSandbox, mistake: str
) -> None:
    """The frames of portal and loop are left out, whatever was wrong and wherever it is noticed."""
    call, text = MISTAKES[mistake]
    sandbox.set_faults(Fault("url_404", prompt_contains="url_404"))
    with pytest.raises((ngi.NanoGPTError, TypeError), match=text) as caught:
        call(client)
    files = [Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert set(files) <= {"test_client.py", "client.py", "adapter.py"}
    assert len(files) <= 5


def test_a_fault_of_the_package_keeps_its_traceback(
    client: ngi.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TypeError that the caller's arguments did not cause shows where it was raised."""

    def broken(**_: object) -> None:
        raise TypeError("a fault of the package")

    monkeypatch.setattr(images, "GenerateRequest", broken)
    with pytest.raises(TypeError, match="a fault of the package") as caught:
        client.images.generate("a fox", model="tiny-and-fast")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "broken"


def test_the_cause_of_an_error_is_kept() -> None:
    """What made a call fail is still shown under the short traceback."""
    with ngi.Client("sk-nano-x", "http://127.0.0.1:9", retry=ngi.RetryPolicy.none()) as nowhere:
        with pytest.raises(ngi.ConnectError) as caught:
            nowhere.account.balance()
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("call", "wrong", "hints"),
    [
        ("generate", "size", ("resolution=", "generate_openai()")),
        ("generate_to", "size", ("resolution=", "generate_openai()")),
        ("generate_openai", "resolution", ("size=", "generate()")),
    ],
)
def test_a_parameter_of_the_other_route_names_the_right_one(
    client: ngi.Client, tmp_path: Path, call: str, wrong: str, hints: tuple[str, ...]
) -> None:
    """`size=` belongs to one route and `resolution=` to the others; the error says so, and nothing is sent."""
    before = [tmp_path] if call == "generate_to" else []
    with pytest.raises(TypeError) as caught:
        getattr(client.images, call)(*before, "a fox", model="tiny-and-fast", **{wrong: "1024x1024"})
    assert all(hint in str(caught.value) for hint in (f"{wrong}=", *hints))
