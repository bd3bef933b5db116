"""The readings of a scale in words."""

import pytest

from micrographia.micrographs.scale import scale_in_words
from micrographia.records import Scale, ScaleReading

HEADER = ScaleReading(source="vendor tag", pixel_size_nm=5.0, detail="PixelWidth")
BAR = ScaleReading(source="scale bar", pixel_size_nm=8.0, relative_uncertainty=0.01, detail="1 µm = 125.0 px")
TABLE = ScaleReading(source="table", pixel_size_nm=5.001)


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ((), "scale: not known, lengths are in pixels"),
        ((HEADER,), "scale: single: 5 nm by header (PixelWidth)"),
        ((HEADER, TABLE), "scale: agreed: 5 nm by header (PixelWidth); 5.001 nm by table"),
        (
            (HEADER, BAR),
            "scale: in conflict, lengths are in pixels: 5 nm by header (PixelWidth); "
            "8 nm by scale bar (1 µm = 125.0 px)",
        ),
    ],
)
def test_the_verdict_and_who_says_what(readings, words):
    assert scale_in_words(Scale.of(readings)) == words
