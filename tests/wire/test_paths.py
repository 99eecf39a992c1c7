"""Where the endpoint metadata of a model is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from nanogpt_images import ParameterError
from nanogpt_images.wire.paths import LISTED_MODELS, endpoints_path

BASE = "https://gateway.example:8443/nano"
PIECES = st.lists(
    st.sampled_from([*"/\\.:@?#%[] \n\té", "..", "//", "%2e", "%2F", "http://", "evil.example", "a"])
)
TEXTS = PIECES.map("".join) | st.text(st.characters(codec=None, exclude_categories=()))


@given(TEXTS, st.none() | TEXTS | PIECES.map("".join).map("/".__add__))
@example("m", "/%2e%2E/other")
@example("m", "/..?")
@example("\ud83e", None)
def test_every_path_stays_below_the_base_url(model_id: str, returned: str | None) -> None:
    """Whatever an ID or a listing says, the key goes to the configured origin and prefix, or nothing is sent."""
    try:
        url = URL(BASE + endpoints_path(model_id, returned))
    except ParameterError:
        return
    assert (url.scheme, url.host, url.port, url.user) == ("https", "gateway.example", 8443, None)
    assert url.raw_path.startswith("/nano/")


@pytest.mark.parametrize(
    "returned",
    [
        "//evil.example/x",
        "https://evil.example/x",
        "/\\evil.example",
        "/../x",
        "/a/%2e%2E/x",
        "/a/%2e.%2fx",
        "/%5cevil",
        "",
    ],
)
def test_a_path_that_leads_elsewhere_is_not_followed(returned: str) -> None:
    """Another origin and a way up are left aside; the path is made of the ID then."""
    assert endpoints_path("a/b", returned) == f"{LISTED_MODELS}/a/b/endpoints"
