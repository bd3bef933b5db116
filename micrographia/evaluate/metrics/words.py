"""The words that text metrics count: lower case, with numbers and units kept whole.

The tokenizers that come with text metrics keep ``[a-z0-9]`` only, so that "3.5 µm" and "3.5 m" are the same
to them. Here every sign that changes what a measurement says is a word of its own or part of one.
"""

import re
import unicodedata
from functools import lru_cache

SIGNATURE = "micrographia words v1: NFKC, lower case, numbers, units and signs kept, punctuation dropped"
"""Figures of text metrics compare only where this line is the same."""

_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_ONE_SIGN = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{HYPHEN}": "-",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{FRACTION SLASH}": "/",
        "\N{MULTIPLICATION SIGN}": "x",
    }
)

_EXPONENT = r"\^[+-]?\d+"
_WORD = re.compile(
    rf"""
      (?: (?<![^\s(\[<>≤≥±≈~=]) [+-] )?          # a sign only where a number can begin: not in "10-20"
        \d+ (?: [.,]\d+ )* (?: e[+-]?\d+ (?![^\W_]) )? (?: {_EXPONENT} )?
    | (?<=\d) x (?=\d)                          # 200x200 and 200 × 200 are the same three words
    | °[cf]? (?![^\W_])
    | [^\W\d_][^\W_]* (?: [-'][^\W_]+ )* (?: {_EXPONENT} )?
    | [°%‰±≤≥<>≈~=/·]
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _keep_exponent(match: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", match.group())


@lru_cache(maxsize=1 << 17)
def words(text: str, keep_case: bool = False) -> tuple[str, ...]:
    """Split a text into the words that metrics count; ``keep_case`` tells MPa from mPa, which metrics do not.

    Compatibility characters are folded by Unicode NFKC (UAX #15: the micro sign becomes the Greek letter,
    Å is one character, CO₂ becomes co2), except that a superscript keeps its mark: 10² is "10^2", not "102".

    >>> words("Pores of 3.5µm (±0.2 µm), rolled-in scale at 25 °C.")
    ('pores', 'of', '3.5', 'μm', '±', '0.2', 'μm', 'rolled-in', 'scale', 'at', '25', '°c')
    """
    kept = _SUPERSCRIPTS.sub(_keep_exponent, text)
    folded = unicodedata.normalize("NFKC", kept).translate(_ONE_SIGN)
    return tuple(_WORD.findall(folded if keep_case else folded.lower()))
