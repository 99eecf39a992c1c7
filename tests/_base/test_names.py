"""File names made from keys and prompts."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt_images._base.names import MAX_NAME_BYTES, MAX_SLUG_CHARACTERS, image_stem, prompt_slug, safe_name

RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
KEYS = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@pytest.mark.parametrize("key", ["fox", "fox-01_b.v2", "7", "_private", "img-20240101", "Füchse", "狐", "A"])
def test_a_plain_key_is_its_own_name(key: str) -> None:
    """A key of letters and digits of any script, dots, dashes and underscores is kept as it is."""
    assert safe_name(key) == key


@pytest.mark.parametrize(
    ("key", "stem"),
    [
        ("a/b", "a_b-"),
        ("a\\b", "a_b-"),
        ("a\u2215b", "a_b-"),
        ("a\uff0fb", "a_b-"),
        ("a\u29f8b", "a_b-"),
        ("../../etc/passwd", "_.._etc_passwd-"),
        ("-rf", "rf-"),
        (".hidden", "hidden-"),
        ("fox.", "fox-"),
        ("fox ", "fox_-"),
        ("two words", "two_words-"),
        ("a\x00b\nc", "a_b_c-"),
        ("con", "_con-"),
        ("NUL.txt", "_NUL.txt-"),
        ("com¹", "_com¹-"),
        ("e\u0301", "é-"),
        ("safe\u202egnp", "safe_gnp-"),
        ("", "image-"),
        ("...", "image-"),
        ("fox-deadbeef", "fox-deadbeef-"),
    ],
)
def test_an_unsafe_key_is_replaced_and_marked(key: str, stem: str) -> None:
    """What a file system could misread is replaced, and eight hex digits of the key's hash follow."""
    name = safe_name(key)
    assert name.startswith(stem)
    assert len(name) == len(stem) + 8
    assert set(name[-8:]) <= set("0123456789abcdef")


@given(KEYS)
@example("x" * 500)
@example("狐" * 200)
@example("con" + "." * 200)
@example("a" * 99 + ".b")
def test_a_name_is_one_component_on_every_system(key: str) -> None:
    """Whatever the key, its name has no separator, control, reserved word, or awkward end, and is short."""
    name = safe_name(key)
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert all(c in "._-" or unicodedata.category(c)[0] in "LMN" for c in name)
    assert name[0] not in ".-"
    assert name[-1] not in ". "
    assert name.split(".")[0].lower() not in RESERVED
    assert unicodedata.is_normalized("NFC", name)


@given(KEYS, KEYS)
def test_distinct_keys_have_distinct_names(one: str, other: str) -> None:
    """Two keys share a name only if they are the same."""
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(KEYS)
def test_the_name_of_one_key_is_not_the_name_of_another(key: str) -> None:
    """A key that spells the changed name of another key gets a name of its own."""
    name = safe_name(key)
    assert name == key or safe_name(name) != name


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red fox, sitting", "a-red-fox-sitting"),
        ("Crème brûlée!", "creme-brulee"),
        ("狐", "image"),
        ("  ", "image"),
        ("con", "image-con"),
        ("../../etc", "etc"),
        ("x" * 90, "x" * 40),
        ("a portrait of a very long prompt that goes on", "a-portrait-of-a-very-long-prompt-that"),
        ("1234567890 1234567890 1234567890 1234567 90", "1234567890-1234567890-1234567890-1234567"),
    ],
)
def test_a_slug_is_made_of_the_prompts_words(prompt: str, slug: str) -> None:
    """A slug is lower-case ASCII, cut between words, and `image` when no letter is left."""
    assert prompt_slug(prompt) == slug


@given(st.text())
def test_a_slug_is_short_plain_ascii(prompt: str) -> None:
    """Whatever the prompt, its slug is a short, plain name."""
    slug = prompt_slug(prompt)
    assert len(slug) <= MAX_SLUG_CHARACTERS
    assert safe_name(slug) == slug or slug[-9:-8] == "-"


def test_an_only_image_has_no_index() -> None:
    """`fox` for one image, `fox-0` and `fox-1` for two."""
    assert image_stem("fox", 0, 1) == "fox"
    assert [image_stem("fox", i, 2) for i in range(2)] == ["fox-0", "fox-1"]
