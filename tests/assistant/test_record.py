"""Questions about scale, sizes and settings are answered from the record, and no other."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from micrographia.assistant.record import (
    answer_from_record,
    as_catalogued,
    questions_of_the_record,
    subjects_asked,
)
from micrographia.micrographs.ingest import ingest
from micrographia.micrographs.picture import open_picture
from micrographia.recipe import shipped_text
from micrographia.teach.questions import load, shipped
from micrographia.workspace import Workspace
from tests.measure.drawn import discs, stripes
from tests.micrographs.instruments import fei_text, tiff


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("How large are the particles?", "particle diameter"),
        ("how BIG are the nanoparticles", "particle diameter"),
        ("How many spheres are there?", "particle count"),
        ("Which fraction do the particles cover?", "particle area fraction"),
        ("How thick are the wires?", "fibre diameter"),
        ("What is the spacing of the lines?", "pitch"),
        ("How large are the structures?", "particle diameter"),
        ("What is the magnification?", "magnification"),
        ("What is the scale?", "pixel size"),
        ("How long is the scale bar?", "pixel size"),
        ("What is the working distance?", "working distance"),
        ("Which detector was used?", "detector"),
        ("What is the grain size?", "size of grains"),
        ("How big are the pores between the particles?", "size of pores"),
        ("How thick is the coating on the particles?", "thickness of a layer"),
        ("How many fibres are there?", "number of fibres"),
        ("How wide is the field of view?", "field width"),
        ("Which voltage was used?", "voltage"),
        ("Which imaging technique was used?", "technique"),
    ],
)
def test_the_subject_of_a_question_is_found(question, first):
    assert subjects_asked(question)[0] == first


@pytest.mark.parametrize(
    "question",
    ["Is the surface smooth or rough?", "Who took it?", "What is the scale of the pattern?", "Describe it."],
)
def test_other_questions_are_for_the_student(question):
    assert subjects_asked(question) == ()


def test_no_question_that_a_student_learns_alone_is_taken_from_it():
    for name in shipped():
        for question in load(name).questions:
            if not (question.about_the_header or question.about_sizes):
                assert not any(subjects_asked(phrasing) for phrasing in question.ask), question.id


def test_every_question_of_the_record_is_answered_from_it(tmp_path):
    Image.fromarray(discs(12)).save(tmp_path / "a.png")
    picture = open_picture(tmp_path / "a.png")
    for phrasings in questions_of_the_record():
        assert answer_from_record(picture, phrasings[0]).text.endswith(".")


def drawn(seed=3):
    """Forty bright discs of 24 pixels on a darker ground."""
    row, column = np.mgrid[:320, :320]
    grey = np.full((320, 320), 70.0)
    rng = np.random.default_rng(seed)
    for r in range(30, 300, 45):
        for c in range(30, 300, 45):
            shift = rng.uniform(-4, 4, 2)
            grey[np.hypot(row - r - shift[0], column - c - shift[1]) < 12] = 190
    return np.clip(np.rint(grey + rng.normal(0, 4, grey.shape)), 0, 255).astype(np.uint8)


def test_a_size_is_told_with_n_and_interval_and_as_no_length_without_a_scale(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    told = answer_from_record(open_picture(tmp_path / "a.png"), "How large are the particles?")
    size = next(claim for claim in told.claims if claim.subject == "particle diameter")
    assert size.quantity.value == pytest.approx(24, rel=0.03)
    assert (size.quantity.unit, size.quantity.n) == ("px", 36)
    assert told.text.startswith("The median particle diameter is ")
    assert " px (n = 36, 95 % interval " in told.text
    assert "The number of particles is 36 (" in told.text
    assert "The absolute size cannot be told from this image, because no scale" in told.text


def test_with_a_scale_it_is_a_length(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), imagej=True, resolution=(0.2, 0.2), metadata={"unit": "nm"})
    told = answer_from_record(open_picture(tmp_path / "a.tif"), "How large are the particles?")
    size = next(claim for claim in told.claims if claim.subject == "particle diameter").quantity
    assert size.unit == "nm"
    assert size.value == pytest.approx(120, rel=0.03)
    assert size.low <= size.value <= size.high
    assert "absolute size" not in told.text


def test_why_not_is_said_once(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    told = answer_from_record(open_picture(tmp_path / "a.png"), "How large are the particles?")
    assert told.text.count("because") == 1
    assert all(claim.kind == "limit" for claim in told.claims)


def test_settings_are_told_and_several_at_once(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff((34682, fei_text())))
    picture = open_picture(tmp_path / "a.tif")
    told = answer_from_record(picture, "What are the voltage and the working distance?").text
    volts, distance = picture.instrument.accelerating_voltage, picture.instrument.working_distance
    assert f"The accelerating voltage is {volts.value:g} kV." in told
    assert f"The working distance is {distance.value:g} mm." in told


def test_what_is_measured_on_request_names_the_command(tmp_path):
    Image.fromarray(stripes(0)).save(tmp_path / "a.png")
    told = answer_from_record(open_picture(tmp_path / "a.png"), "What is the pore size?").text
    assert told.endswith("because `micrographia measure --what pores` tells it.")


def test_the_scale_of_the_workspace_counts_where_it_knows_the_image(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("file,pixel_size_nm\na.png,5.0\n")
    workspace = Workspace.create(tmp_path / "lab", shipped_text("mvaema"))
    ingest(workspace, [tmp_path / "a.png"], tmp_path / "t.csv")
    picture = open_picture(tmp_path / "a.png")
    assert picture.scale.pixel_size_nm is None
    assert as_catalogued(picture, workspace.catalog).scale.pixel_size_nm == 5.0


def test_what_nothing_names_cannot_be_told(tmp_path):
    Image.fromarray(stripes(0)).save(tmp_path / "a.png")
    told = answer_from_record(open_picture(tmp_path / "a.png"), "Which voltage was used?")
    assert told.text == (
        "The voltage cannot be told from this image, because nothing that comes with it names it."
    )
