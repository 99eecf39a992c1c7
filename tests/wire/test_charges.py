"""Texts about money: which of them free a request, and what takes their certainty."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.wire.charges import Statement, speaks_of_work, statement_of

FREE = (
    "You have not been charged.",
    "You were not charged",
    "you will not be charged",
    "You haven't been charged",
    "it wasn\u2019t billed",
    "You won't be charged for this request.",
    "This request was never billed.",
    "Your account has not been debited.",
    "We did not charge you.",
    "Nothing was charged.",
    "Nothing will be billed for this request",
    "No credits were deducted.",
    "There is no charge for this request",
    "No charge.",
)
BESIDE = (
    "Internal server error",
    "Image generation failed.",
    "An error occurred while processing your request.",
    "The provider could not be reached after 3 attempts.",
    "Please try again later.",
    "Retry in 5 seconds.",
    "If the problem persists, contact support.",
    "server_error",
)
BILLED = (
    "Upload failed; this request has been billed.",
    "You have already been charged.",
    "This generation was charged",
    "Image not stored, request was billed",
    "Image could not be saved but was billed",
    "The result was not found and has been charged",
)
VETOES = (
    *BILLED,
    "Retries are never charged.",
    "You will not be charged twice.",
    "You will not be charged again.",
    "You have not yet been charged.",
    "The image is still being generated.",
    "Not charged until the image is delivered.",
    "Processing continues.",
    "Request was not billed correctly",
    "0.04 USD has already been deducted",
    "Upstream timed out. Cost: $0.04",
    "total 0.04 USD",
    "Internal error (3 credits)",
    "\u20ac 2 at the provider",
    "You may have been charged.",
    "The request might have been billed",
    "Your balance is being debited.",
    "Unless the image is delivered.",
    "If the image arrives, 0.04 USD are due.",
    "Failed requests are refunded.",
    "The rest is pending.",
    "$0.04",
    "We cannot confirm that.",
    "For now.",
    "So far.",
    "\u2026",
)
DOUBTFUL = (
    "This request has been billed. Retries are never charged.",
    "You will not be charged twice, but this request has been billed.",
    "You have not yet been charged; the image is still being generated.",
    "not charged until the image is delivered. Processing continues.",
    "Request was not billed correctly",
    "0.04 USD has already been deducted",
    "You may have been charged.",
    "The request might have been billed",
    "You have not been charged twice.",
    "You have not been charged as long as the image fails",
    "You have not been charged so far",
    "You have not been charged since yesterday",
    "You have not been charged, yet",
    "You have not been charged yet the image was made",
    "You have not been charged in full",
    "You have not been charged for the failed images.",
    "You have not been charged more than 0.04 USD",
    "It is not true that you have not been charged",
    "Only you have not been charged",
    "Cached images: not charged",
    "Previews - not charged",
    "Not charged?",
    "For failed requests, you are not charged.",
    "If it fails, you are not charged.",
    "You are charged only when the image is delivered",
    "You would not be charged",
    "Your card was not charged; your balance was reduced by 0.04.",
    "Your account was not charged. Your subscription was used instead.",
    "This request was not billed. It counts against your daily image allowance.",
    "You have not been charged. Rendering in background.",
    "You have not been charged. Task accepted",
    "You have not been charged and the task was accepted",
    "We cannot guarantee that: you have not been charged.",
    'Could not verify that "you have not been charged".',
    'False: "You have not been charged."',
    "Not true, you have not been charged",
    "A hold of 0.04 was placed. You have not been charged.",
    "This call was not billed. Your image was.",
    "No credits were used. Amount: 0.04",
    "Vous avez \u00e9t\u00e9 d\u00e9bit\u00e9. You have not been charged.",
)
SILENT = ("", "Discharged battery", "Internal server error", "Bill gates closed", "Try again")


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        *((text, Statement.FREE) for text in FREE),
        *((text, Statement.BILLED) for text in BILLED),
        *((text, Statement.DOUBTFUL) for text in DOUBTFUL),
        *((text, Statement.SILENT) for text in SILENT),
        ("Image generation failed. You have not been charged. Please try again later.", Statement.FREE),
        ("Failed and you were not charged.", Statement.FREE),
        ("However, it was not billed", Statement.FREE),
        ("Generation failed (not charged)", Statement.FREE),
        ("Failed: you have not been charged", Statement.FREE),
    ],
)
def test_sentences_about_money(text: str, statement: Statement) -> None:
    """A text is taken at its word only where it can mean one thing."""
    assert statement_of(text) is statement
    assert statement_of(text.upper()) is statement


def _spelt(text: str, case: int) -> str:
    return (text, text.upper(), text.lower(), text.title(), text.swapcase())[case]


@given(
    st.lists(st.sampled_from(FREE), min_size=1, max_size=3),
    st.lists(st.sampled_from(VETOES), min_size=1, max_size=2),
    st.lists(st.sampled_from(BESIDE), max_size=2),
    st.sampled_from((" ", ". ", "\n", "; ", ", ", " and ", " but ", " - ", " (")),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_a_veto_takes_the_certainty_of_any_free_sentence(
    free: list[str], vetoes: list[str], beside: list[str], joint: str, case: int, draw: Random
) -> None:
    """Whatever the order, the joint and the case: a contradiction or a condition is never overheard."""
    sentences = [*free, *vetoes, *beside]
    draw.shuffle(sentences)
    assert statement_of(_spelt(joint.join(sentences), case)) is not Statement.FREE


@given(
    st.sampled_from(FREE), st.lists(st.sampled_from(BESIDE), max_size=3), st.randoms(use_true_random=False)
)
def test_what_says_nothing_of_money_takes_nothing(free: str, beside: list[str], draw: Random) -> None:
    """Stock sentences beside a free one leave it as clear as it is."""
    sentences = [free, *beside]
    draw.shuffle(sentences)
    assert statement_of("\n".join(sentences)) is Statement.FREE


@given(
    st.sampled_from(FREE),
    st.sampled_from(("yet", "until", "twice", "again", "retries", "correctly")),
    st.data(),
)
def test_a_doubtful_word_in_the_sentence_frees_nothing(free: str, word: str, data: st.DataObject) -> None:
    """A word that turns the sentence round counts wherever it stands in it."""
    words = free.split()
    words.insert(data.draw(st.integers(0, len(words))), word)
    assert statement_of(" ".join(words)) is not Statement.FREE


@pytest.mark.parametrize("piece", ["is ", "not charged ", "no charge for it", "a", "is a", " - ", "? "])
def test_a_long_text_is_read_in_one_pass(piece: str) -> None:
    """No expression searches the same text again from each place: that would take minutes here."""
    statement_of(piece * 100_000)


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("The image was generated but could not be stored.", True),
        ("The task is still running", True),
        ("Your request was queued.", True),
        ("Image could not be generated", False),
        ("The provider is temporarily unavailable. Please try again.", False),
        ("rate_limiter_unavailable", False),
        ("", False),
    ],
)
def test_texts_about_work(text: str, works: bool) -> None:
    """A text that says that images were made or are being made shows work; one that names a fault does not."""
    assert speaks_of_work(text) is works


@pytest.mark.parametrize("text", ["Cost: $0.04", "3 credits needed", "a limit of 5 USD"])
def test_an_amount_that_names_a_price_says_nothing(text: str) -> None:
    """An answer that names prices by its nature is not in doubt for that; one that speaks of a charge is."""
    assert statement_of(text) is Statement.DOUBTFUL
    assert statement_of(text, quotes=True) is Statement.SILENT
    assert statement_of(f"{text} was deducted", quotes=True) is Statement.DOUBTFUL
