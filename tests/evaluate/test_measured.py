"""The examples of the report: who is chosen, and that their numbers are those of the measurement."""

import hashlib
import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from micrographia import phantoms
from micrographia.engine import SILENT
from micrographia.evaluate import measured as module
from micrographia.evaluate.measured import MOST, chosen, measure_examples
from micrographia.micrographs.ingest import ingest
from micrographia.workspace import Workspace, open_workspace
from tests.catalog.records import micrograph
from tests.micrographs.instruments import as_fei


@given(st.lists(st.sampled_from(["Tips", "Films", "Wires", None]), max_size=20), st.integers(0, 5))
def test_few_images_spread_over_the_classes(labels, seed):
    micrographs = [micrograph(k, label=label) for k, label in enumerate(labels)]
    drawn = chosen(micrographs, seed)
    assert len({m.id for m in drawn}) == len(drawn) == min(MOST, len(labels))
    of_class, there = Counter(m.label for m in drawn), Counter(labels)
    for label, count in of_class.items():
        assert all(of_class[other] >= min(count - 1, there[other]) for other in there), label


def test_the_choice_is_that_of_the_seed_and_not_of_the_order():
    micrographs = [micrograph(k, label="Tips") for k in range(30)]
    assert chosen(micrographs, 1) == chosen(micrographs[::-1], 1)
    assert chosen(micrographs, 1) != chosen(micrographs, 2)


@pytest.fixture(scope="module")
def spheres():
    return phantoms.draw("Particles", 3, (384, 512), "zeiss", variety="spherical particles")


@pytest.fixture(scope="module")
def lab(spheres, tmp_path_factory):
    """A workspace with spheres, with a right header and with a wrong one, a bare gradient, and noise."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "images").mkdir()
    as_fei(spheres, folder / "images" / "right.tif")
    as_fei(spheres, folder / "images" / "wrong.tif", 3 * spheres.pixel_size_nm)
    plain = np.tile(np.linspace(90, 110, 256).astype(np.uint8), (256, 1))
    Image.fromarray(plain).save(folder / "images" / "plain.png")
    noise = np.clip(np.random.default_rng(0).normal(128, 30, (128, 128)), 0, 255).astype(np.uint8)
    Image.fromarray(noise).save(folder / "images" / "noise.png")
    with open_workspace(Workspace.create(folder / "lab", "workers: 1\n").folder) as workspace:
        ingest(workspace, [folder / "images"])
        yield workspace


@pytest.fixture(scope="module")
def shown(lab):
    """Each image's example by its name."""
    examples = measure_examples(lab, lab.catalog.micrographs(), SILENT)
    assert examples.left_out == ()
    return {image.name: image for image in examples.images}


def test_numbers_stand_with_interval_and_n(shown, spheres):
    numbers = {name: rest for name, *rest in shown["right.tif"].numbers}
    value, interval, n = numbers["particle diameter"]
    whole = [one.equivalent_diameter_px for one in spheres.truth.objects if one.whole]
    expected = np.median(whole) * spheres.pixel_size_nm
    size = {"nm": 1, "µm": 1e3}
    assert float(value.split()[0]) * size[value.split()[1]] == pytest.approx(expected, rel=0.1)
    assert " to " in interval and abs(int(n) - len(whole)) <= 0.2 * len(whole)
    assert shown["right.tif"].scale.startswith("scale: agreed: ")


def test_in_conflict_there_is_no_absolute_length(shown):
    image = shown["wrong.tif"]
    assert image.scale.startswith("scale: in conflict, lengths are in pixels: ")
    assert {name: value for name, value, *_ in image.numbers}["particle diameter"].endswith(" px")


def test_what_cannot_be_told_stands_with_its_reason_once(shown):
    assert any("pitch, pattern orientation" in what for what, _ in shown["right.tif"].refused)
    for image in shown.values():
        told = {name for name, *_ in image.numbers}
        refused = {name for names, _ in image.refused for name in names.split(", ")}
        assert told and refused and not told & refused
        assert len({reason for _, reason in image.refused}) == len(image.refused)


def test_pictures_show_outlines_and_the_bar_as_read(shown):
    """Only where outlines are to be trusted, and only where there is a bar."""
    assert any("particle count" in what for what, _ in shown["noise.png"].refused)
    for name, outlined in (("right.tif", True), ("noise.png", False)):
        with Image.open(io.BytesIO(shown[name].picture)) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        assert ((red - blue > 120).sum() > 200) == outlined
        assert ((blue - red > 120) & (green > red)).any() == outlined
        assert len(shown[name].picture) < 1_500_000


def test_the_same_image_gives_the_same_picture(lab, shown):
    again = measure_examples(lab, [m for m in lab.catalog.micrographs() if m.name == "plain.png"], SILENT)
    digests = [hashlib.sha256(i.picture).hexdigest() for i in (again.images[0], shown["plain.png"])]
    assert digests[0] == digests[1]


def test_one_that_cannot_be_measured_is_named_and_stops_nothing(lab, monkeypatch):
    measure = module.measure_field
    monkeypatch.setattr(
        module,
        "measure_field",
        lambda field, *a, **k: 1 / 0 if len(field) != 256 else measure(field, *a, **k),
    )
    examples = measure_examples(lab, lab.catalog.micrographs(), SILENT)
    assert [image.name for image in examples.images] == ["plain.png"]
    assert sorted(line.partition(":")[0] for line in examples.left_out) == [
        "noise.png",
        "right.tif",
        "wrong.tif",
    ]
    assert "ZeroDivisionError" in examples.left_out[0]
