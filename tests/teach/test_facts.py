"""What is and what is not known of a micrograph."""

import numpy as np
import pytest

from micrographia.records import CANNOT_TELL
from micrographia.teach.facts import header_line, printed_length
from tests.measure.drawn import discs, stripes
from tests.teach.records import facts


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
