"""Micrographs and their facts, drawn and made up for the tests of teach."""

from micrographia.measure import measure_image
from micrographia.records import Display, Instrument, Micrograph, Quantity, Scale, ScaleReading
from micrographia.teach.facts import facts_of


def micrograph(
    identity="a" * 64,
    label="rolled-in_scale",
    pixel_size_nm=None,
    technique=None,
    conflict=False,
    height=1024,
):
    readings = ()
    if pixel_size_nm is not None:
        readings = (ScaleReading(source="vendor tag", pixel_size_nm=pixel_size_nm),)
    verdict = "single" if readings else "none"
    if conflict:
        other = ScaleReading(source="scale bar", pixel_size_nm=2 * pixel_size_nm)
        readings, verdict = (*readings, other), "conflict"
    voltage = Quantity(value=15, unit="kV") if technique else None
    return Micrograph(
        id=identity,
        name="x.png",
        format="PNG",
        width=1024,
        height=height,
        channels=1,
        bits=8,
        display=Display(black=0, white=255),
        label=label,
        scale=Scale(readings=readings, verdict=verdict),
        instrument=Instrument(technique=technique, accelerating_voltage=voltage),
    )


def facts(image, **known):
    return facts_of(micrograph(**known), measure_image(image))
