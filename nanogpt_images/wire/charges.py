"""What the text of a failed request says about its money."""

from __future__ import annotations

import enum
import re
from typing import Final


class Statement(enum.Enum):
    """What a text says about the charge of the request that it answers."""

    SILENT = "silent"
    """Nothing."""
    FREE = "free"
    """Without a doubt: nothing was charged, and nothing will be."""
    BILLED = "billed"
    """It was charged."""
    DOUBTFUL = "doubtful"
    """It speaks of a charge in a way that can mean more than one thing, or contradicts itself."""


_IT = r"(?:it|(?:this|the|your)(?: failed)? (?:request|generation|image|attempt|call))"
_PAYER = rf"(?:you|your (?:account|balance|card|key|api key)|{_IT})"
_HAVE = r"(?:have|has|had|was|were|are|is|did|do|does)"
_DID = rf"(?:charged|billed|debited)(?: anything)?(?: for {_IT})?"
_MONEY = r"(?:charges?|fees?|costs?|payment|credits?|funds|money|balance|amount)"
_TAKEN = r"(?:made|applied|taken|charged|billed|debited|deducted|used|incurred)"
# A clause frees a request only when one of these is the whole of it.
_FREE: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:(?:{_PAYER} )?{_HAVE} |{_PAYER} )?(?:not|never) (?:actually )?(?:be |been |being )?{_DID}",
        rf"{_PAYER} {_HAVE}n't (?:be |been |being )?{_DID}",
        rf"{_PAYER} (?:will not|will never|won't) be {_DID}",
        rf"we (?:have|did) (?:not|never) (?:charged?|billed?|debited?) (?:you|your account)(?: for {_IT})?",
        rf"nothing (?:is|was|has been|will be) (?:deducted|{_DID})(?: for {_IT})?",
        rf"no {_MONEY} (?:(?:is|are|was|were|has been|have been|will be) )?{_TAKEN}(?: for {_IT})?",
        rf"(?:there (?:is|was|will be) )?no charge(?: for {_IT})?",
    )
)
# Clauses beside it that mean nothing although they hold a word of `_VETO`.
_STOCK: Final = re.compile(
    r"(?:please )?(?:try|retry)(?: (?:again|it|your request|the request|this request))*"
    r"(?: (?:later|soon|shortly|in (?:an?|\d+|a few|some) (?:s|sec|seconds?|minutes?|moments?|while|hour)))?"
    r"|if (?:the|this) (?:problem|error|issue) persists|(?:please )?contact (?:us|(?:the |our )?support)(?: team)?"
)
# Beside a free clause these take its certainty: a condition, a time to come, work that goes on, other money.
_VETO: Final = re.compile(
    r"\b(?:yet|until|till|unless|twice|again|retr(?:y|ies|ied|ying)|repeat\w*|double|correctly|properly|except"
    r"|still|continu\w*|pending|progress|queued?|later|soon|shortly|eventually|meanwhile|deliver\w*|will|shall"
    r"|being|(?:is|are) (?:\w+ly )?\w+ing|fully|partial(?:ly)?|partly|maybe|perhaps|probably|possibly|likely|usually"
    r"|normally|generally|typically|whether|confirm\w*|unclear|so far|to date|now|currently|at th(?:e|is) (?:moment|time)"
    r"|charg\w*|bill\w*|deduct\w*|debit\w*|invoice\w*|paid|pay\w*|fees?|costs?|credits?|funds|refund\w*|usd|xno)\b"
    r"|^(?:if|when(?:ever)?|once|only|after|before|while|as long as|as soon as|provided"
    r"|assuming|in case|in the event|should|for)\b"
    r"|[$\u20ac\u2026]"
)
# What is wrong with a request or a service: beside a free clause nothing else is believed to say nothing of money.
_FAULT: Final = re.compile(
    r"\b(?:errors?|fail(?:s|ed|ure|ures)?|unavailable|overloaded|busy|time[ds]?[ -]?out|invalid|unsupported|rejected|refused"
    r"|denied|cannot|can't|could not|couldn't|unable|not (?:found|available|allowed|supported|reachable|complete|finish\w*)"
    r"|went wrong|limit(?:ed|s)?|too (?:many|large|long)|violat\w*|unexpected|maintenance|capacity|sorry|support)\b"
)
# What an answer may have made, taken or promised all the same, and words that take back what was said.
_DOUBT: Final = re.compile(
    r"\b(?:guarantee\w*|verif\w*|true|untrue|false|wrong|certain|claim\w*|statement|holds?|held|reserv\w*|balance|wallet|account"
    r"|amount|price|total|allowance|quota|subscription|plan|counts?|reduced|decreased|subtracted|taken|used|generated|rendered|created|produced"
    r"|completed|finished|stored|saved|uploaded|accepted|running|started|task|background|settle\w*)\b"
)
_WORD: Final = re.compile(r"\S+")
_WORK: Final = re.compile(
    r"\b(?:generated|rendered|created|produced|completed|finished|delivered|running|rendering|accepted|queued|started"
    r"|in progress|in (?:the )?background)\b"
)
_BILLED: Final = re.compile(r"\b(?:has been|have been|was|were|been|is|are) (?:charged|billed)\b")
_UNSURE: Final = re.compile(
    r"\b(?:may|might|could|would|will|can|not|never|no|yet|until|unless|only|if|when|once|after|before|correctly"
    r"|properly|twice|perhaps|maybe|probably|possibly|whether)\b|n't\b"
)
_SPEAKS: Final = re.compile(
    r"\b(?:charge[ds]?|charging|billed|deducted|debited|invoiced|withdrawn|refunded)\b"
)
_AMOUNT: Final = re.compile(r"[$\u20ac] ?\d|\b\d+(?:[.,]\d+)? ?(?:usd|xno|credits?|cents?)\b")
_CLAUSES: Final = re.compile(
    # "Previews: not charged" is about previews, and "not charged?" is a question: both stay whole.
    r"[.;!,()\[\]{}<>\"|]+|(?:[:\u2013\u2014]| -+ )(?! ?(?:not|never)\b)|(?<=\?) | (?:and|but|because|though|although) "
)
_SPACE: Final = re.compile(r"\s+")


def statement_of(text: str, *, quotes: bool = False) -> Statement:
    """
    Return what *text* says about the charge of the request that it answers.

    It frees the request only when a clause says so in one of a few plain forms, and each clause beside that one names
    a fault, or is a single word such as a code, and speaks of no other money, of no condition, and of no work.

    Args:
        text: All that the answer says; a line break ends a sentence.
        quotes: The answer names prices or limits by its nature, so that an amount in it says nothing.
    """
    plain = _SPACE.sub(" ", text.replace("\n", " . ").casefold().replace("\u2019", "'"))
    clauses = [clause for part in _CLAUSES.split(plain) if (clause := part.strip(" '*_`"))]
    others = [clause for clause in clauses if not any(free.fullmatch(clause) for free in _FREE)]
    frees = len(others) < len(clauses)
    if frees and all(map(_means_nothing, others)):
        return Statement.FREE
    speaking = [clause for clause in others if _SPEAKS.search(clause)]
    if not frees and speaking and all(_BILLED.search(it) and not _UNSURE.search(it) for it in speaking):
        return Statement.BILLED
    doubtful = frees or speaking or (not quotes and _AMOUNT.search(plain))
    return Statement.DOUBTFUL if doubtful else Statement.SILENT


def speaks_of_work(text: str) -> bool:
    """Return whether a clause of *text* says, without naming a fault, that images were made or are being made."""
    plain = _SPACE.sub(" ", text.replace("\n", " . ").casefold().replace("\u2019", "'"))
    return any(_WORK.search(clause) and not _FAULT.search(clause) for clause in _CLAUSES.split(plain))


def _means_nothing(clause: str) -> bool:
    if _STOCK.fullmatch(clause):
        return True
    if _VETO.search(clause) or _DOUBT.search(clause):
        return False
    return _WORD.fullmatch(clause) is not None or _FAULT.search(clause) is not None
