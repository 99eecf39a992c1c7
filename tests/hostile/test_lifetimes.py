"""Clients that are forgotten, forked, closed early, or used on the wrong loop: a clear word, and never a hang."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

RunScript = Callable[..., object]

NOISE = ("Unclosed", "Event loop is closed", "Task was destroyed", "never awaited", "Exception in thread")

FORGOTTEN = {
    "async, collected in its loop": """
async def main():
    client = ngi.AsyncClient(key, url)
    print(await aone(client))
asyncio.run(main())
""",
    "async, left behind by its loop": """
client = ngi.AsyncClient(key, url)
print(asyncio.run(aone(client)))
""",
    "blocking, a global": """
client = ngi.Client(key, url)
print(one(client))
""",
    "blocking, collected": """
def main():
    client = ngi.Client(key, url)
    print(one(client))
main()
""",
    "blocking, used by a thread that outlives the main one": """
client = ngi.Client(key, url)
client.catalog.list()
go = threading.Event()
def work():
    threading.main_thread().join()
    print(one(client))
threading.Thread(target=work).start()
""",
    "blocking, with a call under way in a daemon thread": """
client = ngi.Client(key, url)
print(one(client))
threading.Thread(target=one, args=(client, "for ever"), daemon=True).start()
until_in_flight(1)
sys.exit()
""",
    "blocking, sys.exit in a thread": """
client = ngi.Client(key, url)
def work():
    print(one(client))
    sys.exit(5)
threading.Thread(target=work).start()
""",
    "blocking, with a batch that was never left": """
client = ngi.Client(key, url)
rows = [{"prompt": f"fox {n}", "model": "tiny-and-fast"} for n in range(50)]
run = client.batch(rows, out=out, concurrency=2)
run.__enter__()
print(len(next(iter(run)).images))
""",
}


@pytest.mark.parametrize("script", FORGOTTEN.values(), ids=FORGOTTEN)
def test_a_forgotten_client_is_named_and_holds_nothing_up(run_script: RunScript, script: str) -> None:
    """A script that forgets to close ends at once, with one warning of this package and none of aiohttp's."""
    ended = run_script(script)
    assert (ended.code, ended.said) == (0, ["1"]), ended.errors
    assert "Client was not closed; use" in ended.errors
    assert not [noise for noise in NOISE if noise in ended.errors], ended.errors


QUIET = ("async, collected in its loop", "blocking, a global", "blocking, with a batch that was never left")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, id=name, marks=() if name in QUIET else pytest.mark.long)
        for name, script in FORGOTTEN.items()
    ],
)
def test_without_development_mode_nothing_is_said(run_script: RunScript, script: str) -> None:
    """In an ordinary interpreter a forgotten client makes no noise at all."""
    ended = run_script(script, sys.executable)
    assert (ended.code, ended.said, ended.errors) == (0, ["1"], "")


CLOSED = {
    "a client on each of two loops, one after the other": """
async def main():
    async with ngi.AsyncClient(key, url) as client:
        print(await aone(client))
asyncio.run(main())
asyncio.run(main())
""",
    "blocking inside a running loop": """
async def main():
    with ngi.Client(key, url) as client:
        print(one(client))
    async with ngi.AsyncClient(key, url) as client:
        print(await aone(client))
asyncio.run(main())
""",
    "many threads": """
from concurrent.futures import ThreadPoolExecutor
with ngi.Client(key, url, requests_per_second=None) as client, ThreadPoolExecutor(8) as threads:
    found = list(threads.map(lambda _: one(client), range(16)))
print(sum(found) // 16)
print(1)
""",
    "a thread closes while others wait": """
client = ngi.Client(key, url)
client.catalog.list()
def work():
    try:
        one(client, "for ever")
    except ngi.OutcomeUnknownError as error:
        assert error.charge is ngi.Charge.UNKNOWN
        sys.stdout.write("1\\n")
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
until_in_flight(2)
client.close()
for thread in threads: thread.join()
""",
    "images outlive the client that is dropped": """
def draw():
    client = ngi.Client(key, url)
    return client.images.generate_openai("a fox", model="tiny-and-fast", response_format="url"), client.close
result, close = draw()
gc.collect()
print(1 if result.images[0].read() else 0)
close()
print(1)
""",
}


@pytest.mark.parametrize("script", CLOSED.values(), ids=CLOSED)
def test_a_closed_client_leaves_no_trace(run_script: RunScript, script: str) -> None:
    """What is closed in the end says nothing, also with all warnings as errors."""
    ended = run_script(script)
    assert (ended.code, ended.said, ended.errors) == (0, ["1", "1"], "")


def test_a_loop_that_ended_does_not_bind_its_client(run_script: RunScript) -> None:
    """A client that was left open by a loop that is gone works on the next one."""
    ended = run_script(
        """
client = ngi.AsyncClient(key, url)
print(asyncio.run(aone(client)))
async def again():
    async with client:
        print(await aone(client))
asyncio.run(again())
""",
    )
    assert (ended.code, ended.said) == (0, ["1", "1"]), ended.errors
    assert not [noise for noise in NOISE if noise in ended.errors], ended.errors


def test_a_living_loop_keeps_its_client(run_script: RunScript) -> None:
    """From a second loop, while the first one lives, use and closing are refused, and the first one goes on."""
    ended = run_script(
        """
client = ngi.AsyncClient(key, url)
def elsewhere():
    for act in (aone(client), client.aclose()):
        try:
            asyncio.run(act)
        except ngi.ConfigurationError as error:
            print("another event loop" in str(error))
async def main():
    async with client:
        await aone(client)
        await asyncio.to_thread(elsewhere)
        print(await aone(client))
asyncio.run(main())
"""
    )
    assert (ended.code, ended.said, ended.errors) == (0, ["True", "True", "1"], "")


FORKED = {
    "blocking": """
with ngi.Client(key, url) as client:
    print(one(client), flush=True)
    child = os.fork()
    if child == 0:
        print(one(client), flush=True)
        client.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(one(client))
""",
    "blocking, within a batch": """
rows = [{"prompt": f"fox {n}", "model": "tiny-and-fast"} for n in range(6)]
with ngi.Client(key, url) as client:
    with client.batch(rows, out=out, concurrency=2) as run:
        print(len(next(iter(run)).images), flush=True)
        child = os.fork()
        if child == 0:
            try:
                next(run)
            except ngi.ConfigurationError as error:
                print("parent process" in str(error), flush=True)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(len(list(run)))
""",
    "async": """
client = ngi.AsyncClient(key, url)
async def main():
    print(await aone(client), flush=True)
    child = os.fork()
    if child == 0:
        asyncio._set_running_loop(None)
        async def use():
            async with client:
                return await aone(client)
        print(asyncio.run(use()), flush=True)
        os._exit(0)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    print(await aone(client))
    await client.aclose()
asyncio.run(main())
""",
}
EXPECTED = {
    "blocking": ["1", "1", "1"],
    "blocking, within a batch": ["1", "True", "5"],
    "async": ["1", "1", "1"],
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", FORKED)
def test_a_forked_child_never_uses_the_parents_connections(run_script: RunScript, name: str) -> None:
    """A child works with connections of its own or is told why not; the parent goes on undisturbed."""
    ended = run_script(FORKED[name], sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning")
    assert (ended.code, ended.said, ended.errors) == (0, EXPECTED[name], "")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_process_without_descriptors_has_no_loop(run_script: RunScript) -> None:
    """Where no event loop can be made, a blocking call says so, and works once there are descriptors again."""
    ended = run_script(
        """
import resource
client = ngi.Client(key, url)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (4, limits[1]))
try:
    one(client)
except ngi.ConfigurationError as error:
    print("Nothing was sent" in str(error))
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(one(client))
client.close()
"""
    )
    assert (ended.code, ended.said) == (0, ["True", "1"]), ended.errors
