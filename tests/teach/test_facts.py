"""What is and what is not known of a micrograph."""

import numpy as np
import pytest

from micrographia.records import CANNOT_TELL
from micrographia.teach.facts import header_line, measured_line, printed_length
from tests.measure.drawn import discs, stripes
from tests.teach.records import facts, sizes


@pytest.mark.parametrize(
    ("nanometres", "printed"),
    [
        (0.0512, "0.0512 nm"),
        (5.2, "5.2 nm"),
        (999.4, "999 nm"),
        (999.9, "1 µm"),
        (1254, "1.25 µm"),
        (3.1e6, "3.1 mm"),
        (2.5e9, "2500 mm"),
    ],
)
def test_lengths_are_printed_with_three_digits_and_a_unit(nanometres, printed):
    assert printed_length(nanometres) == printed


def test_a_known_scale_gives_sizes_and_an_unknown_one_a_limit():
    known = facts(stripes(0), pixel_size_nm=2.5)
    assert known["pixel size"].value == "2.5 nm"
    assert known["field width"].value == "2.56 µm"
    assert known["pixel size"].kind == "metadata"
    assert "absolute size" not in known
    for unknown in (facts(stripes(0)), facts(stripes(0), pixel_size_nm=2.5, conflict=True)):
        assert unknown["pixel size"].value == unknown["absolute size"].value == CANNOT_TELL
        assert unknown["pixel size"].kind == "limit"
        assert "field width" not in unknown


def test_directions_are_facts_only_of_images_that_have_one():
    upright = facts(stripes(90))["direction"]
    assert upright.value == "vertical"
    assert upright.directional
    assert upright.quantity.unit == "°"
    round_spots = facts(discs(8))
    assert "direction" not in round_spots
    assert round_spots["alignment"].value == "isotropic"


def test_what_could_not_be_measured_cannot_be_told():
    even = facts(np.full((100, 100), 7, np.uint8))
    assert even["contrast"].value == CANNOT_TELL
    assert even["contrast"].kind == "limit"
    assert "same grey value" in even["contrast"].evidence
    assert even["brightness"].value == "dark"


def test_no_label_is_no_fact():
    assert "class" not in facts(stripes(0), label=None)
    assert facts(stripes(0), label="Tips")["class"].value == "Tips"


def test_the_header_is_told_in_words():
    known = header_line(facts(stripes(0), pixel_size_nm=2.5, technique="Cryo-SEM, tilted"))
    assert known == (
        "Header: image size 1024 × 1024 px; bit depth 8 bit; pixel size 2.5 nm; field width 2.56 µm; "
        "technique Cryo-SEM tilted; voltage 15 kV."
    )
    assert "pixel size unknown; technique unknown" in header_line(facts(stripes(0)))


def test_sizes_are_lengths_with_a_scale_and_pixels_without():
    scaled, bare = (facts(discs(8), sizes(), pixel_size_nm=nm) for nm in (200.0, None))
    assert scaled["particle diameter"].value == "1.8 µm (n = 36, 95 % interval 1.6 µm to 2.2 µm)"
    assert scaled["particle diameter"].quantity.value == pytest.approx(1800)
    assert bare["particle diameter"].value == "9 px (n = 36, 95 % interval 8 px to 11 px)"
    for known in (scaled, bare):
        assert known["particle count"].value == "36"
        assert known["particle area fraction"].value == "7.25 %"
        assert known["particle diameter"].kind == "measured"


def test_a_size_that_was_refused_cannot_be_told_for_that_reason():
    known = facts(discs(8), sizes(refused="the median diameter is 4.0 px"))["particle diameter"]
    assert (known.kind, known.value, known.because) == ("limit", CANNOT_TELL, "the median diameter is 4.0 px")


def test_sizes_are_told_in_words():
    line = measured_line(facts(discs(8), sizes(), pixel_size_nm=200.0))
    assert line == (
        "Measured: particle diameter 1.8 µm (n = 36, 95 % interval 1.6 µm to 2.2 µm); particle count 36; "
        "particle area fraction 7.25 %; fibre diameter unknown; pitch unknown."
    )
