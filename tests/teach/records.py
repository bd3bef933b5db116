"""Micrographs and their facts, drawn and made up for the tests of teach."""

from micrographia.measure import measure_image
from micrographia.records import Display, Instrument, Measurement, Micrograph, Quantity, Scale, ScaleReading
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


def facts(image, measured=(), **known):
    return facts_of(micrograph(**known), (*measure_image(image), *measured))


def sizes(diameter=9.0, count=36, refused=None):
    """Measurements of particles in pixels, or why there are none."""
    if refused:
        return (Measurement(name="particle diameter", quantity=None, method="median", refused=refused),)
    diameters = Quantity(value=diameter, unit="px", low=diameter - 1, high=diameter + 2, n=count)
    return (
        Measurement(name="particle diameter", quantity=diameters, method="median"),
        Measurement(name="particle count", quantity=Quantity(value=count), method="objects"),
        Measurement(name="particle area fraction", quantity=Quantity(value=7.25, unit="%"), method="share"),
        Measurement(name="fibre diameter", quantity=None, method="rays", refused="no fibre was found"),
        Measurement(name="pitch", quantity=None, method="spectrum", refused="nothing repeats"),
    )
