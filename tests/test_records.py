"""Records are frozen, checked when made, and round-trip through JSON; the scale follows every resize."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from micrographia.records import (
    Acquisition,
    Answer,
    Box,
    Claim,
    Conversation,
    Display,
    Instrument,
    Measurement,
    Micrograph,
    Quantity,
    Record,
    Scale,
    ScaleReading,
    Score,
    Source,
    Stage,
    Told,
    Turn,
)

ID = "0123456789abcdef" * 4
SIZES = st.floats(1e-3, 1e6)
FACTORS = st.floats(1e-2, 1e2)


def reading(size, uncertainty=0.0, source="vendor tag"):
    return ScaleReading(source=source, pixel_size_nm=size, relative_uncertainty=uncertainty)


SCALE = Scale.of((reading(2.5), reading(2.51, 0.02, "scale bar")))
VOLTAGE = Quantity(value=15, unit="kV")
STAGE = Stage(x=Quantity(value=1.5, unit="mm"), tilt=Quantity(value=30, unit="°"))
FIELD = Box(top=0, left=0, bottom=3, right=4)
CLAIM = Claim(
    kind="measured",
    subject="orientation",
    value="45°",
    quantity=Quantity(value=44.0, unit="°", low=40, high=48, n=7),
    evidence="orientation",
    directional=True,
    start=0,
    end=3,
)
EXAMPLES = [
    Quantity(value=1.5, unit="µm", low=1.0, high=2.0, n=12),
    reading(3.0, 0.05, "field width"),
    SCALE,
    STAGE,
    Instrument(technique="SEM", accelerating_voltage=VOLTAGE, magnification=5000, stage=STAGE),
    FIELD,
    Acquisition(readings=(reading(3.0),), field=FIELD, burnt_in=(FIELD,), missing=("date: there is none",)),
    Display(black=0, white=65535, low_percentile=0.1, high_percentile=99.9),
    Told(label="Fibres", group="s1", part="test", scale=SCALE),
    Source(path="a/ü.png", size_bytes=3, modified_ns=2**62, outcome="taken", micrograph=ID, told=Told()),
    Micrograph(
        id=ID,
        name="a.tif",
        format="TIFF",
        width=4,
        height=3,
        channels=1,
        bits=16,
        display=Display(black=0, white=1),
        label="Fibres",
        scale=SCALE,
        fingerprint="00ff",
        notes=("page 1 of 3",),
    ),
    Measurement(name="contrast", quantity=Quantity(value=0.2), method="RMS contrast v1"),
    Measurement(name="spacing", quantity=None, method="v1", refused="no period found"),
    CLAIM,
    Turn(role="user", text="What is it?"),
    Conversation(
        id=ID,
        micrographs=(ID,),
        task="vqa",
        question_set="textures 1",
        question="orientation",
        teacher="measured 1",
        turns=(Turn(role="user", text="Where?"), Turn(role="assistant", text="45°.")),
        claims=(CLAIM,),
    ),
    Answer(
        micrograph=ID, student=ID, question="q", text="Fibres.", ranking=(("Fibres", 0.75), ("Tips", 0.25))
    ),
    Score(task="category", metric="accuracy", system="s", value=0.5, low=0.4, high=0.6, n=9, groups=3),
]


def test_there_is_an_example_of_every_record():
    assert {type(example) for example in EXAMPLES} == set(Record.__subclasses__()) & {
        kind for kind in Record.__subclasses__() if kind.__module__ == Record.__module__
    }


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_is_the_same_after_json(record):
    again = type(record).model_validate_json(record.model_dump_json())
    assert again == record
    assert hash(again) == hash(record)


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_cannot_be_changed_and_takes_no_unknown_field(record):
    name = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, getattr(record, name))
    with pytest.raises(ValidationError, match="colour"):
        type(record).model_validate({**record.model_dump(), "colour": "red"})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_number_is_infinite(value):
    with pytest.raises(ValidationError, match="finite"):
        Quantity(value=value)


# Scale


def test_without_readings_there_is_no_pixel_size():
    assert (Scale.of(()).verdict, Scale.of(()).pixel_size_nm) == ("none", None)


def test_one_reading_stands_alone():
    scale = Scale.of((reading(2.5),))
    assert (scale.verdict, scale.pixel_size_nm) == ("single", 2.5)


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ((reading(100), reading(100.9, source="sidecar")), "agreed"),
        ((reading(100), reading(100.9)), "single"),
        ((reading(100), reading(101.1)), "conflict"),
        ((reading(101.1), reading(100)), "conflict"),
        ((reading(100), reading(105, uncertainty=0.03, source="scale bar")), "agreed"),
        ((reading(100), reading(107, uncertainty=0.03)), "conflict"),
        ((reading(100), reading(100), reading(200)), "conflict"),
    ],
)
def test_readings_agree_within_twice_their_uncertainty_or_one_percent(readings, verdict):
    assert Scale.of(readings).verdict == verdict


def test_a_conflict_has_no_pixel_size_but_agreement_has_the_most_certain():
    assert Scale.of((reading(1), reading(1000))).pixel_size_nm is None
    assert SCALE.pixel_size_nm == 2.5
    assert Scale.of((reading(2.51, 0.02, "scale bar"), reading(2.5))).pixel_size_nm == 2.5


def test_pixels_that_are_not_square_have_no_one_size():
    oblong = ScaleReading(source="vendor tag", pixel_size_nm=1.0, pixel_height_nm=0.2)
    scale = Scale.of((oblong,))
    assert (scale.verdict, scale.pixel_size_nm, scale.best) == ("single", None, oblong)
    assert scale.resized(2).readings[0].height_nm == pytest.approx(0.1)
    assert Scale.of((oblong, reading(1.0, source="scale bar"))).verdict == "conflict"


def test_an_instrument_takes_what_the_first_knows():
    first, second = Instrument(detector="SE2"), Instrument(detector="InLens", maker="Zeiss", stage=STAGE)
    assert Instrument.first_known([first, second]) == Instrument(detector="SE2", maker="Zeiss", stage=STAGE)


def test_a_box_holds_something():
    with pytest.raises(ValidationError, match="rows 3 to 3"):
        Box(top=3, left=0, bottom=3, right=2)


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ((), "single"),
        ((reading(1),), "agreed"),
        ((reading(1),), "none"),
        ((reading(1), reading(1, source="sidecar")), "single"),
        ((reading(1), reading(1)), "agreed"),
    ],
)
def test_a_verdict_that_does_not_fit_its_readings_is_refused(readings, verdict):
    with pytest.raises(ValidationError, match="verdict"):
        Scale(readings=readings, verdict=verdict)


@given(size=SIZES, factor=FACTORS, width=st.integers(1, 10_000))
def test_the_field_keeps_its_width_when_the_image_is_resized(size, factor, width):
    resized = Scale.of((reading(size),)).resized(factor)
    assert resized.pixel_size_nm * (width * factor) == pytest.approx(size * width)


@given(sizes=st.lists(SIZES, min_size=1, max_size=4), first=FACTORS, second=FACTORS)
def test_two_resizes_are_one_by_their_product(sizes, first, second):
    scale = Scale.of(tuple(reading(size) for size in sizes))
    twice, once = scale.resized(first).resized(second), scale.resized(first * second)
    assert twice.verdict == once.verdict == scale.verdict
    for a, b in zip(twice.readings, once.readings, strict=True):
        assert a.pixel_size_nm == pytest.approx(b.pixel_size_nm)


@given(sizes=st.lists(SIZES, min_size=2, max_size=4), factor=FACTORS)
def test_resizing_does_not_settle_a_conflict(sizes, factor):
    scale = Scale.of((reading(1), *(reading(1000 + size) for size in sizes)))
    assert scale.resized(factor).pixel_size_nm is None


# Rules across fields


def test_a_source_is_taken_or_has_a_reason():
    file = {"path": "a.png", "size_bytes": 1, "modified_ns": 1}
    for wrong in (
        {"outcome": "taken"},
        {"outcome": "taken", "micrograph": ID, "reason": "but"},
        {"outcome": "refused", "micrograph": ID, "reason": "empty"},
    ):
        with pytest.raises(ValidationError, match="taken needs a micrograph"):
            Source(**file, **wrong)
    assert Source(**file, outcome="refused", reason="empty").micrograph is None


def test_a_refused_or_skipped_source_has_a_reason():
    file = {"path": "a.png", "size_bytes": 1, "modified_ns": 1}
    for outcome in ("refused", "skipped"):
        with pytest.raises(ValidationError, match="needs a reason"):
            Source(**file, outcome=outcome)


def test_a_measurement_is_a_number_or_a_reason():
    with pytest.raises(ValidationError, match="not both"):
        Measurement(name="contrast", quantity=Quantity(value=1), method="v1", refused="too dark")
    with pytest.raises(ValidationError, match="not both"):
        Measurement(name="contrast", quantity=None, method="v1")


@pytest.mark.parametrize("identity", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_an_id_is_a_sha256(identity):
    with pytest.raises(ValidationError):
        Answer(micrograph=identity, student="s", question="q", text="t")


def test_what_is_asked_and_what_is_answered():
    conversation = next(e for e in EXAMPLES if isinstance(e, Conversation))
    assert (conversation.prompt, conversation.answer) == ("Where?", "45°.")


def test_confidence_is_that_of_the_first_class():
    answer = next(e for e in EXAMPLES if isinstance(e, Answer))
    assert answer.confidence == 0.75
    assert answer.model_copy(update={"ranking": ()}).confidence is None
