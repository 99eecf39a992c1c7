"""The pytest plugin, in projects of its users: a fresh directory, and pytest in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanogpt_images.sandbox import Sandbox

pytest_plugins = ["pytester"]

ASYNC_TEST = """
    import asyncio
    import nanogpt_images as ngi
    from nanogpt_images.testing import assert_billed

    {marker}
    async def test_one_image(nanogpt_client, nanogpt_sandbox):
        result = await nanogpt_client.images.generate("a red fox", model="gpt-image-2", n=2)
        assert len(result.images) == 2
        assert_billed(nanogpt_sandbox, requests=1, images=2, usd=result.cost_usd)

    {marker}
    async def test_many_at_once(nanogpt_client, nanogpt_sandbox):
        calls = [nanogpt_client.images.generate(f"fox {{i}}", model="tiny-and-fast") for i in range(8)]
        await asyncio.gather(*calls)
        assert_billed(nanogpt_sandbox, requests=8)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory where every warning is an error, and no plugin but those that a test asks for is loaded."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers -p nanogpt_images.testing.plugin\n"
    )
    return pytester


def test_is_found_by_its_entry_point(pytester: pytest.Pytester) -> None:
    """Installing the package is enough: the fixtures and the markers are there."""
    done = pytester.runpytest_subprocess("--fixtures", "-p", "no:asyncio", "-q")
    done.stdout.fnmatch_lines_random(["nanogpt_sandbox -- *", "nanogpt_client -- *", "nanogpt_cassette -- *"])


def test_imports_nothing_at_start(project: pytest.Pytester) -> None:
    """A test run that uses no fixture of the plugin loads neither a dependency nor a module of the client."""
    project.makepyfile("""
        import sys

        def test_nothing():
            names = {name for name in sys.modules if name.startswith("nanogpt_images")}
            assert names == {"nanogpt_images", "nanogpt_images.testing", "nanogpt_images.testing.plugin"}
            heavy = {"PIL", "aiohttp", "anyio", "attr", "cattrs", "cachetools", "pybase64", "asyncio"}
            assert heavy.isdisjoint(sys.modules)
    """)
    project.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_async_client_under_anyio(project: pytest.Pytester) -> None:
    """`nanogpt_client` works in tests of the anyio plugin."""
    project.makeconftest(
        "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n",
    )
    project.makepyfile(ASYNC_TEST.format(marker="@__import__('pytest').mark.anyio"))
    project.runpytest_subprocess("-p", "anyio.pytest_plugin").assert_outcomes(passed=2)


@pytest.mark.parametrize(("mode", "scope"), [("strict", "function"), ("auto", "session")])
def test_async_client_under_pytest_asyncio(project: pytest.Pytester, mode: str, scope: str) -> None:
    """`nanogpt_client` works in tests of pytest-asyncio, in both modes, with a loop per test or one for all."""
    marker = "@__import__('pytest').mark.asyncio" if mode == "strict" else ""
    project.makepyfile(ASYNC_TEST.format(marker=marker))
    options = ("-o", f"asyncio_mode={mode}", "-o", f"asyncio_default_test_loop_scope={scope}")
    scopes = ("-o", "asyncio_default_fixture_loop_scope=function")
    project.runpytest_subprocess("-p", "pytest_asyncio.plugin", *options, *scopes).assert_outcomes(passed=2)


def test_blocking_client_faults_and_environment(project: pytest.Pytester) -> None:
    """Faults come from markers and from the fixture; clients that the application makes reach the sandbox."""
    project.makepyfile("""
        import pytest
        import nanogpt_images as ngi
        from nanogpt_images.sandbox import Fault
        from nanogpt_images.testing import assert_billed

        def test_blocking(nanogpt_blocking_client, nanogpt_sandbox):
            nanogpt_blocking_client.images.generate("a fox", model="tiny-and-fast")
            assert_billed(nanogpt_sandbox, requests=1)

        @pytest.mark.nanogpt_faults("402")
        @pytest.mark.nanogpt_faults(Fault("content_policy", prompt_contains="naked"))
        @pytest.mark.nanogpt_faults("500_billed", "503_limiter", prompt_contains="red fox")
        def test_marker(nanogpt_blocking_client, nanogpt_sandbox):
            for prompt, kind in {
                "a red fox": ngi.ServerError,
                "a naked fox": ngi.ContentPolicyError,
                "a hare": ngi.InsufficientBalanceError,
            }.items():
                with pytest.raises(kind):
                    nanogpt_blocking_client.images.generate(prompt, model="tiny-and-fast")
            assert_billed(nanogpt_sandbox, requests=1)

        def test_fixture(nanogpt_blocking_client, nanogpt_sandbox):
            nanogpt_sandbox.set_faults(Fault("500_not_billed", times=1))
            nanogpt_blocking_client.images.generate("a fox", model="tiny-and-fast")
            assert_billed(nanogpt_sandbox, requests=1)

        @pytest.mark.nanogpt_sandbox(balance_usd=0)
        def test_client_of_the_application(nanogpt_sandbox):
            with ngi.Client() as client, pytest.raises(ngi.InsufficientBalanceError):
                client.images.generate("a fox", model="tiny-and-fast")
            assert_billed(nanogpt_sandbox, images=0)
    """)
    project.runpytest_subprocess().assert_outcomes(passed=4)


def test_without_pillow_only_the_sandbox_fails(project: pytest.Pytester) -> None:
    """Where Pillow is missing, a test that wants the sandbox says what to install; others run."""
    project.makeconftest("import sys\nsys.modules['PIL'] = None\n")
    project.makepyfile("""
        def test_other():
            pass

        def test_sandbox(nanogpt_sandbox):
            pass
    """)
    done = project.runpytest_subprocess()
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(['*pip install "pillow>=*'])


CASSETTE_TEST = """
    import nanogpt_images as ngi

    def test_fox(nanogpt_cassette):
        with ngi.Client(transport=nanogpt_cassette, base_url={url!r}) as client:
            result = client.images.generate("a risk-averse fox", model="tiny-and-fast")
            assert result.images[0].media_type == "image/png"
            assert client.images.generate_openai(
                "a hare", model="tiny-and-fast", response_format="url"
            ).images[0].read()[:4] == b"\\x89PNG"
"""


def test_records_and_replays(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded test passes again when the service is gone; the key is not in the cassette, the prompt is."""
    with Sandbox.in_thread() as sandbox:
        project.makepyfile(test_cassette=CASSETTE_TEST.format(url=sandbox.url))
        monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
        project.runpytest_subprocess("--nanogpt-record").assert_outcomes(passed=1)
    monkeypatch.delenv("NANOGPT_API_KEY")
    project.runpytest_subprocess().assert_outcomes(passed=1)
    file = Path(project.path / "cassettes" / "test_cassette.test_fox.json").read_text(encoding="utf-8")
    assert sandbox.api_key not in file
    assert "a risk-averse fox" in file
    assert len(json.loads(file)["exchanges"]) == 5


def test_a_missing_cassette_says_how_to_record_it(project: pytest.Pytester) -> None:
    """Without a file nothing is sent; the text names the command, and recording without a key is refused."""
    project.makepyfile(test_cassette=CASSETTE_TEST.format(url="http://127.0.0.1:9"))
    done = project.runpytest_subprocess()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*pytest --nanogpt-record 'test_cassette.py::test_fox'*"])
    refused = project.runpytest_subprocess("--nanogpt-record")
    refused.assert_outcomes(errors=1)
    refused.stdout.fnmatch_lines(["*set NANOGPT_API_KEY*"])
