"""Header, print and text files together: what an image tells of its taking, and the field without print."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from micrographia import phantoms
from micrographia.errors import NoImage
from micrographia.micrographs.acquisition import read_acquisition
from micrographia.micrographs.field import field_of
from micrographia.micrographs.ingest import ingest
from micrographia.micrographs.picture import open_picture
from micrographia.micrographs.read import decode
from micrographia.micrographs.sidecars import sidecar_texts
from micrographia.records import Box
from micrographia.workspace import Workspace
from tests.micrographs import instruments as made
from tests.micrographs.instruments import as_fei


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "workspace", "recipe: mvaema\nworkers: 1\n")
    yield made
    made.close()


@pytest.fixture
def drawn():
    return phantoms.draw("Powder", 5, (512, 640), "fei")


def test_header_and_bar_agree(drawn, tmp_path):
    picture = open_picture(as_fei(drawn, tmp_path / "a.tif"))
    assert picture.scale.verdict == "agreed"
    assert {r.source for r in picture.scale.readings} == {"vendor tag", "scale bar", "field width"}
    assert picture.scale.pixel_size_nm == pytest.approx(drawn.pixel_size_nm, rel=1e-3)
    assert picture.field.shape == (drawn.databar.top, 640)
    assert picture.display.shape == (512, 640)


@pytest.mark.parametrize("factor", [0.5, 2.0, 10.0])
def test_a_header_that_contradicts_the_bar_is_a_conflict_and_no_size_is_told(drawn, tmp_path, factor):
    scale = open_picture(as_fei(drawn, tmp_path / "a.tif", drawn.pixel_size_nm * factor)).scale
    assert (scale.verdict, scale.pixel_size_nm) == ("conflict", None)


def test_an_image_reduced_by_an_editor_keeps_the_scale_of_its_bar_alone(drawn, tmp_path):
    """The header's pixel is that of the original: it is not taken, and what is said of it is kept."""
    path = as_fei(drawn, tmp_path / "a.tif")
    with tifffile.TiffFile(path) as file:
        text = path.read_bytes()[file.pages[0].tags[34682].valueoffset :][: file.pages[0].tags[34682].count]
    half = np.asarray(Image.fromarray(drawn.image).resize((320, 256), Image.Resampling.BOX))
    path.write_bytes(made.tiff((34682, text.decode().rstrip("\0")), image=half))
    picture = open_picture(path)
    assert any("resized or cropped" in line for line in picture.missing)
    assert all(r.source != "vendor tag" for r in picture.scale.readings)
    if picture.scale.pixel_size_nm is not None:
        assert picture.scale.pixel_size_nm == pytest.approx(2 * drawn.pixel_size_nm, rel=0.03)


def test_the_header_comes_before_the_databar(drawn, tmp_path):
    told = read_acquisition(data := as_fei(drawn, tmp_path / "a.tif").read_bytes(), decode(data)).instrument
    assert told.accelerating_voltage.value == 10  # the header's; the databar prints another
    assert told.model == "Quanta 450"


def test_what_is_printed_on_the_field_is_painted_over():
    image = np.full((60, 80), 100, np.uint8)
    image[40:44, 20:60] = 255
    field = field_of(image, None, (Box(top=38, left=18, bottom=46, right=62),))
    assert (field == 100).all()
    assert (image[40:44, 20:60] == 255).all()  # the original is as it was


def test_the_field_of_a_colour_image():
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 1] = 7
    assert field_of(image, Box(top=0, left=0, bottom=15, right=30), ()).shape == (15, 30, 3)


def hitachi(folder, name="probe"):
    Image.fromarray(made.IMAGE).save(folder / f"{name}.tif")
    (folder / f"{name}.txt").write_text(made.HITACHI, encoding="utf-16")
    return folder / f"{name}.tif"


def test_the_text_beside_an_image_belongs_to_it(tmp_path):
    path = hitachi(tmp_path)
    assert len(sidecar_texts(path)) == 1
    picture = open_picture(path)
    assert picture.scale.pixel_size_nm == 496.0938
    assert picture.instrument.model == "SU8000"


def test_ingest_takes_scale_and_settings_from_wherever_they_stand(workspace, tmp_path, drawn):
    lab = tmp_path / "lab"
    lab.mkdir()
    hitachi(lab)
    as_fei(drawn, lab / "good.tif")
    as_fei(phantoms.draw("Powder", 6, (512, 640), "fei"), lab / "bad.tif", 3.0)
    (lab / "spectrum.dm3").write_bytes(made.dm(dims=(64, 1)))
    Image.fromarray(made.IMAGE.T.copy()).save(lab / "plain.png")
    summary = ingest(workspace, [lab])
    assert summary.scales == {"single": 1, "agreed": 1, "conflict": 1, "none": 1}
    assert len(summary.scale_conflicts) == 1 and summary.scale_conflicts[0].startswith("bad.tif: ")
    assert not summary.refused
    reasons = {source.path.rsplit("/", 1)[-1]: source.reason for source in summary.skipped}
    assert reasons["probe.txt"] == "read with probe.tif"
    assert "spectrum" in reasons["spectrum.dm3"]
    by_name = {m.name: m for m in workspace.catalog.micrographs()}
    assert by_name["probe.tif"].instrument.detector == "SE(U)"
    assert by_name["good.tif"].field.bottom == drawn.databar.top
    assert by_name["plain.png"].missing[0].startswith("pixel size:")


def test_a_text_that_comes_later_is_taken_with_the_next_ingest(workspace, tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    path = hitachi(lab)
    (text := path.with_suffix(".txt")).rename(tmp_path / "kept.txt")
    ingest(workspace, [lab])
    assert workspace.catalog.micrographs()[0].scale.verdict == "none"
    (tmp_path / "kept.txt").rename(text)
    ingest(workspace, [lab])
    assert workspace.catalog.micrographs()[0].scale.pixel_size_nm == 496.0938


def test_a_spectrum_is_said_to_be_one(tmp_path):
    (tmp_path / "a.dm3").write_bytes(made.dm(dims=(64, 1)))
    with pytest.raises(NoImage, match="64 x 1 values, and no image"):
        open_picture(tmp_path / "a.dm3")
