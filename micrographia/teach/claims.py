"""Claims in words: the facts that a text states, and the same answer for a turned or mirrored image."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from micrographia.errors import WorkspaceError
from micrographia.records import CLASS, Claim, Conversation, Turn
from micrographia.teach.facts import DIRECTION, SIZES, WIDTHS
from micrographia.teach.levels import DIRECTIONS, direction_at, turned_angle
from micrographia.teach.lexicon import class_words, closed_phrases, phrases, told_patterns

CONTRADICTION = " / "
"""Joins the values of a subject of which a text states more than one, so that it equals none of them."""

_NUMBER = r"\d+(?:\.\d+)?"
_QUANTITY = rf"{_NUMBER}(?: × {_NUMBER})? (?:pm|nm|µm|mm|px|kV|bit)"
_SIZE = rf"{_NUMBER}(?:[ ](?:pm|nm|µm|mm|px|%))?(?: \([^()]*\))?"
"""With n and interval, as ``facts`` writes them."""
_WORDS = r"[^.,;]+"
"""A value without a unit, such as a technique, ends at the next punctuation mark."""


def read_claims(text: str, subjects: Collection[str], labels: Collection[str] = ()) -> dict[str, str]:
    """What ``text`` states of each of ``subjects``, by the lexicon's phrases; the longest phrase counts.

    The class is read by the words of ``labels``. Case does not matter. A subject of which nothing is stated
    is not there; one of which two different things are stated gets both, joined by CONTRADICTION.
    """
    stated: dict[str, list[str]] = {}
    reader, meanings = _reader(frozenset(subjects), tuple(sorted(labels)))
    for match in reader.finditer(_plain(text)):
        subject, value = _meaning(match, meanings)
        values = stated.setdefault(subject, [])
        if value not in values:
            values.append(value)
    return {subject: CONTRADICTION.join(values) for subject, values in stated.items()}


def class_names(labels: Collection[str]) -> dict[str, str]:
    """The words of each label, case-folded, with the label.

    Raises WorkspaceError where two read the same, or one has no words.
    """
    names: dict[str, str] = {}
    for label in labels:
        words = class_words(label).casefold()
        if not words:
            raise WorkspaceError(f"the class {label!r} has no word in it", "rename its folder, or its label")
        if names.setdefault(words, label) != label:
            raise WorkspaceError(
                f"the classes {names[words]!r} and {label!r} are both read as {words!r}",
                "give one of them another name",
            )
    return names


_Meaning = tuple[str, str | None]
"""A subject, and the value; None where the value is what the phrase's gap holds."""


@lru_cache(maxsize=256)
def _reader(subjects: frozenset[str], labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, _Meaning]]:
    """An expression that finds every phrase, and what the phrase, or the named group, means."""
    meanings: dict[str, _Meaning] = {}
    for subject in sorted(subjects):
        meanings |= {p.casefold(): (subject, value) for p, value in closed_phrases(subject).items()}
    if CLASS in subjects:
        meanings |= {name: (CLASS, label) for name, label in class_names(labels).items()}
    # Longer phrases first: an alternation takes the first that fits.
    closed = [re.escape(phrase) for phrase in sorted(meanings, key=lambda phrase: (-len(phrase), phrase))]
    told: list[str] = []
    for subject in sorted(subjects - {CLASS}):
        for pattern in told_patterns(subject):
            group = f"told{len(told)}"
            gap = f"(?P<{group}>{_value_of(subject)})"
            told.append(re.escape(pattern.casefold()).replace(r"\{\}", gap))
            meanings[group] = (subject, None)
    # A told phrase comes last, since "the technique is" fits words that a limit may follow.
    alternatives = "|".join([*closed, *told]) or r"(?!)"
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE), meanings


def _value_of(subject: str) -> str:
    """The expression of a told value."""
    if subject in SIZES:
        return _SIZE
    return _WORDS if subject == "technique" else _QUANTITY


def _meaning(match: re.Match[str], meanings: dict[str, _Meaning]) -> tuple[str, str]:
    for group, value in match.groupdict().items():
        if value is not None:
            return meanings[group][0], value.strip()
    subject, known = meanings[match[0].casefold()]
    return subject, known or ""


def _plain(text: str) -> str:
    """One kind of space, and the micro sign for the Greek mu."""
    return re.sub(r"\s+", " ", text).replace("\u03bc", "µ")


def turned(conversation: Conversation, quarter_turns: int, mirrored: bool) -> Conversation | None:
    """The conversation for the image mirrored left-right (if ``mirrored``), then turned counter-clockwise.

    It fits ``np.rot90(np.fliplr(image), quarter_turns)``. Words that name a direction are replaced; None
    where they are not the lexicon's, so that the answer could not be kept true. Turning one way and back
    gives the same conversation.
    """
    text = conversation.answer
    claims: list[Claim] = []
    shift = 0
    for claim in sorted(conversation.claims, key=lambda claim: claim.start):
        moved = claim.model_copy(update={"start": claim.start + shift, "end": claim.end + shift})
        if claim.directional:
            after = _turned_claim(moved, text, quarter_turns, mirrored)
            if after is None:
                return None
            words, turned_claim = after
            text = text[: moved.start] + words + text[moved.end :]
            shift += turned_claim.end - moved.end
            moved = turned_claim
        claims.append(moved)
    turns = (*conversation.turns[:-1], Turn(role="assistant", text=text))
    return conversation.model_copy(update={"turns": turns, "claims": tuple(claims)})


def _turned_claim(claim: Claim, text: str, quarter_turns: int, mirrored: bool) -> tuple[str, Claim] | None:
    if claim.subject in WIDTHS:
        return (text[claim.start : claim.end], claim) if quarter_turns % 2 == 0 else None
    if claim.subject != DIRECTION or claim.value not in DIRECTIONS:
        return None
    angle = turned_angle(45 * DIRECTIONS.index(claim.value), quarter_turns, mirrored)
    value = direction_at(angle)
    words = _same_phrase(text[claim.start : claim.end], claim.value, value)
    if words is None:
        return None
    quantity = claim.quantity and claim.quantity.model_copy(
        update={"value": turned_angle(claim.quantity.value, quarter_turns, mirrored)}
    )
    update = {"value": value, "quantity": quantity, "end": claim.start + len(words)}
    return words, claim.model_copy(update=update)


def _same_phrase(words: str, value: str, other: str) -> str | None:
    """The phrase for ``other`` that is parallel to the phrase ``words`` for ``value``, capital kept."""
    now, then = phrases(DIRECTION, value), phrases(DIRECTION, other)
    for form, options in now.items():
        for known, parallel in zip(options, then[form], strict=True):
            if words == known:
                return parallel
            if words == known[:1].upper() + known[1:]:
                return parallel[:1].upper() + parallel[1:]
    return None
