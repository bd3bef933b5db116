"""The databar: the strip below the field in which instruments print, found, and its words understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from micrographia.micrographs.lengths import nanometres, plain
from micrographia.micrographs.words import Word
from micrographia.records import Instrument, Quantity

Grey = NDArray[np.uint8]

LOW_SHARE = 0.12
"""Of the image's rows, in which settings are printed that have no databar of their own."""
HIGHEST_SHARE = 0.25
"""Of the image's rows."""
FEWEST_ROWS = 10
NEAR = 12
"""Grey levels from the ground that still are ground; JPEG makes it so many."""
GROUND_SHARE = 0.5
"""A row of the databar is ground on so much of its width; between letters it is more."""
FRAME_SHARE = 0.8
"""A row of a frame is of one grey on so much of its width."""
RULED_SHARE, EVEN_SHARE = 0.2, 0.85
"""A row with a line on a part of its width is ground on less, and even nearly everywhere."""
FIELD_SHARE = 0.4
"""Rows above the databar are of its ground on less than this."""
WITHIN_SHARE = 0.7
"""Half of the rows of the databar are of its ground on more than this."""
STEP = 0.4
"""From the last rows of the field to the first of the databar, the share of its ground grows by so much."""
BELOW_LOOKED_AT = 8

NEAR_UNIT, NEAR_NAME = 1.5, 3.0
"""Heights of letters between a number and its unit, and between a name and its value, at most."""

NUMBER = r"(\d+(?:[.,]\d+)?)"
UNIT = r"(nm|µm|um|mm|cm|pm|Å|A)"
LENGTH = re.compile(rf"(?<![\d.,]){NUMBER}\s*{UNIT}(?![A-Za-z])")
"""A length as printed, µ in one code point."""
_NAMED = re.compile(r"[A-Za-z)]\s*[:=]\s*$")
_BAR_NAME = re.compile(r"(?:bar|scale|marker)\W*$", re.IGNORECASE)
_SETTING = re.compile(r"(?:W\.?D\.?|working distance|view field|HFW|field|aperture|size)\W*$", re.IGNORECASE)
"""The end of a line of print that names the value right of it, which is no bar's label."""
_NUMBER, _UNIT_FIRST = re.compile(rf"\W*{NUMBER}\W*"), re.compile(rf"{UNIT}(?![A-Za-z])")
_VOLTS = re.compile(rf"{NUMBER}\s*k(?:e?V|v)", re.IGNORECASE)
_WORKING = re.compile(rf"W\.?D\.?\s*[:=]?\s*{NUMBER}\s*mm", re.IGNORECASE)
_MAGNIFIED = (
    re.compile(r"(\d[\d ,.]*)\s*(k?)\s*[x×](?![A-Za-z])", re.IGNORECASE),
    re.compile(r"(?<![A-Za-z])[x×]\s*(\d[\d,.]*)\s*(k?)(?![A-Za-z])", re.IGNORECASE),
)
_DETECTOR = re.compile(r"(?:Signal\s*A|Det)\s*[:=.]*\s*([A-Za-z][\w-]*)", re.IGNORECASE)
_LONE_DETECTOR = re.compile(r"(?<!\w)(SEI|BEI|COMPO|LEI|BSE|SE2|InLens|ETD|TLD|SE)(?!\w)")
HEADINGS = {
    "hv": "voltage",
    "energy": "voltage",
    "landing e": "voltage",
    "eht": "voltage",
    "wd": "working distance",
    "mag": "magnification",
    "hfw": "field width",
    "view field": "field width",
    "det": "detector",
}
"""Words over a value, in small letters."""


def find_databar(grey: Grey) -> int | None:
    """The first row of the databar at the bottom of ``grey`` (rows, columns); None where there is none.

    From the bottom up, rows belong to it while most of them is of its ground, the commonest grey of the
    lowest rows, or they are a frame, of one grey. The field above must look otherwise.
    """
    rows = grey.shape[0]
    highest = int(rows * (1 - HIGHEST_SHARE))
    strip = grey[highest:]
    ground = _ground(grey)
    is_ground = _share(strip, ground) >= GROUND_SHARE
    is_frame = _commonest_share(strip) >= FRAME_SHARE
    is_ruled = (_share(strip, ground) >= RULED_SHARE) & (_even_share(strip) >= EVEN_SHARE)
    belongs = is_ground | is_frame | is_ruled
    lowest = strip.shape[0] - 1
    while lowest > 0 and not belongs[lowest] and strip.shape[0] - lowest < BELOW_LOOKED_AT:
        lowest -= 1
    first = lowest
    while first > 0 and belongs[first - 1]:
        first -= 1
    top = highest + first
    if lowest + 1 - first < FEWEST_ROWS or first == 0 or not is_ground[first : lowest + 1].any():
        return None
    above = _share(grey[max(0, top - 20) : top], ground)
    within = _share(grey[top : highest + lowest + 1], ground)
    differs = float(above.mean()) < FIELD_SHARE and float(np.median(within)) >= WITHIN_SHARE
    differs &= float(within[:4].max() - above[-4:].min()) >= STEP
    return top if differs and _has_print(grey[top : highest + lowest + 1], ground) else None


def _ground(grey: Grey) -> float:
    """The commonest grey of the lowest rows."""
    lowest = grey[-max(FEWEST_ROWS, grey.shape[0] // 40) :]
    return float(np.argmax(np.bincount(lowest.ravel(), minlength=256)))


def _share(rows: Grey, level: float) -> NDArray[np.float64]:
    return np.asarray((np.abs(rows.astype(np.float64) - level) <= NEAR).mean(axis=1))


def _even_share(rows: Grey) -> NDArray[np.float64]:
    return np.asarray((np.abs(np.diff(rows.astype(np.int16), axis=1)) <= NEAR).mean(axis=1))


def _commonest_share(rows: Grey) -> NDArray[np.float64]:
    medians = np.median(rows, axis=1, keepdims=True)
    return np.asarray((np.abs(rows - medians) <= NEAR).mean(axis=1))


def _has_print(strip: Grey, ground: float) -> bool:
    """Something far from the ground, but little of it: letters, bars and frames."""
    far = np.abs(strip.astype(np.float64) - ground) > 60
    return 0.002 < float(far.mean()) < 0.5


@dataclass(frozen=True)
class Printed:
    """A length as printed, and where."""

    nanometres: float
    text: str
    word: Word
    relative_rounding: float
    """Half of the last digit, as a part of the value."""
    doubt: str | None = None
    """Why it may be another length; None where it is plain."""
    is_setting: bool = False
    """Whether a name and "=" or ":" stand right before it, which name no bar."""


def lengths_in(words: Sequence[Word]) -> list[Printed]:
    """Every length among ``words``, working distances left out, each with its own part of the line's box."""
    found = []
    for word in _joined(words):
        text = _WORKING.sub(lambda match: " " * len(match[0]), mended(word.text))
        for match in LENGTH.finditer(text):
            value, unit = float(match[1].replace(",", ".")), match[2]
            size = nanometres(unit)
            if size is None or not value > 0:
                continue
            decimals = len(match[1].replace(",", ".").partition(".")[2])
            rounding = 0.5 * 10**-decimals / value
            part = _part(word, text, *match.span())
            before = text[: match.start()]
            found.append(
                Printed(
                    value * size,
                    f"{match[1]} {unit}",
                    part,
                    rounding,
                    doubt=_doubt(match[1], unit),
                    is_setting=bool(_NAMED.search(before)) and not _BAR_NAME.search(before),
                )
            )
    return found


def _doubt(number: str, unit: str) -> str | None:
    if unit == "pm":
        return "recognisers make pm of µm, so that it cannot be told which it is"
    if re.fullmatch(r"[1-9]\d{0,2},\d{3}", number):
        return "its comma may part thousands or decimals"
    return None


def labels_in(words: Sequence[Word]) -> list[Printed]:
    """The lengths that may be the label of a bar: those that are nothing else's value.

    "Aperture Size = 30.00 µm" is a setting, and so is what stands right of "View field:" or below "WD".
    """
    headed = [
        word for name, word in _by_heading(words).items() if name in ("working distance", "field width")
    ]
    named = [word for word in words if _SETTING.search(mended(word.text))]
    return [
        length
        for length in lengths_in(words)
        if not length.is_setting
        and not any(_overlap(length.word, word) for word in headed)
        and not any(_follows(length.word, word, NEAR_NAME) for word in named)
    ]


def _overlap(one: Word, other: Word) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    return across > 0 and down > 0


def _joined(words: Sequence[Word]) -> list[Word]:
    """The words, a number alone with the unit that stands right of it as one."""
    units = [word for word in words if _UNIT_FIRST.match(plain(word.text))]
    joined: list[Word] = []
    used: set[int] = set()
    for word in words:
        unit = (
            next((u for u in units if _follows(u, word, NEAR_UNIT)), None)
            if _NUMBER.fullmatch(word.text)
            else None
        )
        if unit is not None:
            used.add(id(unit))
            top, bottom = min(word.top, unit.top), max(word.bottom, unit.bottom)
            text = f"{word.text} {unit.text}"
            word = replace(word, text=text, right=unit.right, top=top, bottom=bottom)
        joined.append(word)
    return [word for word in joined if id(word) not in used]


def _follows(word: Word, before: Word, nearest: float) -> bool:
    """Whether ``word`` stands in the line of ``before``, right of it by up to so many heights of letters."""
    height = min(word.height, before.height)
    same_line = abs(word.top + word.bottom - before.top - before.bottom) < height
    return same_line and -0.5 * height < word.left - before.right < nearest * height


def _part(word: Word, text: str, start: int, end: int) -> Word:
    """The characters from ``start`` to ``end`` of a line, as if all were equally wide."""
    step = (word.right - word.left) / max(len(text), 1)
    return replace(word, text=text[start:end], left=word.left + start * step, right=word.left + end * step)


def mended(text: str) -> str:
    """What recognisers take for another: the Greek mu, a letter for a digit before a unit."""
    text = plain(text).replace("×", "x")
    text = re.sub(r"(?<![A-Za-z\d])[lI|](?=\s*(?:nm|µm|um|mm))", "1", text)
    text = re.sub(r"(?<=\d)[oO](?=[\doO]*\s*(?:nm|µm|um|mm))", "0", text)
    return re.sub(r"(?<=\d)\s*(?:µ|u)\s*m(?![A-Za-z])", " µm", text)


@dataclass(frozen=True)
class Fields:
    """What the words of a databar say."""

    instrument: Instrument
    field_width: Printed | None


def top_by_print(words: Sequence[Word], rows: int) -> int | None:
    """The first row of what is printed along the bottom, where the words there are settings; else None.

    For databars whose ground is that of the field above.
    """
    low = [word for word in words if word.top > rows * (1 - LOW_SHARE)]
    told = understood(low).instrument
    settings = (told.accelerating_voltage, told.working_distance, told.magnification)
    if sum(setting is not None for setting in settings) < 2:
        return None
    return max(0, round(min(word.top for word in low) - 0.3 * max(word.height for word in low)))


def understood(words: Sequence[Word]) -> Fields:
    """Settings by their own words ("EHT = 1.00 kV") or by the heading above them ("HV" over "10.00 kV")."""
    under = _by_heading(words)
    everything = " ; ".join(mended(word.text) for word in words)
    volts = _first(_VOLTS, mended(under["voltage"].text) if "voltage" in under else "", everything)
    working = _first(
        _WORKING,
        f"WD {mended(under['working distance'].text)}" if "working distance" in under else "",
        everything,
    )
    return Fields(
        Instrument(
            accelerating_voltage=None if volts is None else Quantity(value=volts, unit="kV"),
            working_distance=None if working is None else Quantity(value=working, unit="mm"),
            magnification=_magnification(under.get("magnification"), everything),
            detector=_detector(under.get("detector"), everything),
        ),
        _field_width(words, under.get("field width")),
    )


def _first(pattern: re.Pattern[str], *texts: str) -> float | None:
    for text in texts:
        if found := pattern.search(text):
            number = float(found[1].replace(",", "."))
            return number if number > 0 else None
    return None


def _by_heading(words: Sequence[Word]) -> dict[str, Word]:
    """The word right below each heading; of a line that runs on below several, the part between its rules."""
    found: dict[str, Word] = {}
    cells = [cell for word in words for cell in _cells(word)]
    for heading in cells:
        letters = re.sub(r"[^a-z ]", "", mended(heading.text).lower()).strip()
        name = HEADINGS.get(letters) or HEADINGS.get(letters.split(" ")[0] if letters else "")
        if name is None or len(letters) > 12:
            continue
        below = [cell for cell in cells if _is_below(cell, heading)]
        if below:
            found.setdefault(name, min(below, key=lambda cell: (cell.top, _aside(cell, heading))))
    return found


def _cells(word: Word) -> list[Word]:
    """The parts of a line that rules part, which recognisers read as "|"."""
    return [_part(word, word.text, match.start(), match.end()) for match in re.finditer(r"[^|]+", word.text)]


def _is_below(word: Word, heading: Word) -> bool:
    gap = word.top - heading.bottom
    apart = _aside(word, heading)
    return (
        apart < heading.height
        and -0.6 * heading.height < gap < 1.5 * heading.height
        and word.top > heading.top
    )


def _aside(word: Word, heading: Word) -> float:
    """Columns between the middles of a word and of the heading above it."""
    return abs(word.left + word.right - heading.left - heading.right) / 2


def _magnification(under: Word | None, everything: str) -> float | None:
    for text in ([mended(under.text)] if under else []) + [everything]:
        for pattern in _MAGNIFIED:
            if found := pattern.search(text):
                digits = found[1].strip().replace(" ", "")
                digits = (
                    digits.replace(",", "")
                    if re.fullmatch(r"\d{1,3}(,\d{3})+", digits)
                    else digits.replace(",", ".")
                )
                if re.fullmatch(r"\d+(\.\d+)?", digits) and float(digits) > 0:
                    return float(digits) * (1000 if found[2] else 1)
    return None


def _detector(under: Word | None, everything: str) -> str | None:
    if under and re.fullmatch(r"[A-Za-z][\w +-]*", under.text):
        return under.text
    found = _DETECTOR.search(everything) or _LONE_DETECTOR.search(everything)
    return found[1] if found else None


def _field_width(words: Sequence[Word], under: Word | None) -> Printed | None:
    if under is not None:
        return next(iter(lengths_in([under])), None)
    for word in words:
        if re.match(r"(HFW|view\s*field)", word.text, re.IGNORECASE):
            return next(iter(lengths_in([word])), None)
    return None
