"""Images are scaled once and found again, and what nobody needs any more does not fill the disk."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from micrographia.errors import PlanError
from micrographia.micrographs.display import open_display
from micrographia.micrographs.ingest import ingest
from micrographia.students.processor import MVaEMaImageProcessor
from micrographia.tune.pixels import ours, prepare
from micrographia.workspace import open_workspace
from tests.tune.small import Counting

SIZE = 32


@pytest.fixture
def workspace(taught, tmp_path):
    shutil.copytree(taught, tmp_path / "lab")
    with open_workspace(tmp_path / "lab") as opened:
        yield opened


def prepared(workspace, micrographs=None, size=SIZE):
    """The pixels, and of how many images they had to be made."""
    progress = Counting()
    chosen = workspace.catalog.micrographs() if micrographs is None else micrographs
    return prepare(workspace, chosen, ours(size), progress), progress.tasks.get("preparing images", 0)


def cached(workspace):
    return sorted(path.name for path in (workspace.folder / "cache").iterdir())


def draft_of(workspace, process):
    """A file as a process that is killed in the middle leaves it."""
    draft = workspace.folder / "cache" / f"pixels-{SIZE}-{'0' * 32}.{process}.part"
    draft.parent.mkdir(exist_ok=True)
    draft.write_bytes(b"half")
    return draft


def expected(workspace, micrograph, channels=1):
    image = open_display(workspace.objects, micrograph)
    return MVaEMaImageProcessor(SIZE, channels).preprocess(image, "np")["pixel_values"][0].astype(np.float16)


def test_each_row_is_its_image_as_the_student_sees_it(workspace):
    micrographs = workspace.catalog.micrographs()[::-1]
    pixels, _ = prepared(workspace, micrographs)
    assert (pixels.shape, pixels.dtype) == ((24, 1, SIZE, SIZE), np.float16)
    for row, micrograph in zip(pixels, micrographs, strict=True):
        np.testing.assert_array_equal(row, expected(workspace, micrograph))
    assert -1 <= pixels.min() < -0.5 and 0.5 < pixels.max() <= 1


def test_one_image_in_colour_gives_all_three_channels(workspace, tmp_path):
    (tmp_path / "more" / "Fibres").mkdir(parents=True)
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "more" / "Fibres" / "colour.png")
    ingest(workspace, [tmp_path / "more"])
    micrographs = workspace.catalog.micrographs()
    pixels, _ = prepared(workspace, micrographs)
    assert pixels.shape == (25, 3, SIZE, SIZE)
    for row, micrograph in zip(pixels, micrographs, strict=True):
        in_colour = micrograph.channels == 3
        alone = expected(workspace, micrograph, 3 if in_colour else 1)
        np.testing.assert_array_equal(row, np.broadcast_to(alone, row.shape))
        assert np.array_equal(row[0], row[1]) != in_colour


def test_what_was_made_is_found_again(workspace):
    first, made = prepared(workspace)
    again, made_again = prepared(workspace)
    assert (made, made_again) == (24, 0)
    np.testing.assert_array_equal(first, again)
    assert len(cached(workspace)) == 1


def test_the_same_images_in_another_order_are_made_anew(workspace):
    micrographs = workspace.catalog.micrographs()
    first, _ = prepared(workspace, micrographs)
    turned, made = prepared(workspace, micrographs[::-1])
    assert made == 24
    np.testing.assert_array_equal(turned, first[::-1])


def test_an_image_whose_object_is_gone_is_named(workspace):
    lost = workspace.catalog.micrographs()[5]
    (workspace.folder / "objects" / lost.id[:2] / lost.id[2:]).unlink()
    with pytest.raises(PlanError, match=rf"{lost.name} can no longer be read.*is missing"):
        prepared(workspace)
    assert [name for name in cached(workspace) if name.endswith(".npy")] == []


def test_pixels_of_images_that_are_no_longer_there_are_removed(workspace):
    micrographs = workspace.catalog.micrographs()
    earlier, _ = prepared(workspace, micrographs[:20])
    before = np.array(earlier)
    (stale,) = cached(workspace)
    prepared(workspace, micrographs)
    assert len(cached(workspace)) == 1 and stale not in cached(workspace)
    np.testing.assert_array_equal(earlier, before)  # a run that has them open goes on undisturbed


def test_pixels_of_another_size_are_kept(workspace):
    prepared(workspace)
    prepared(workspace, size=48)
    assert len(cached(workspace)) == 2
    assert prepared(workspace)[1] == prepared(workspace, size=48)[1] == 0


def test_the_draft_of_a_killed_process_is_removed(workspace):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        draft = draft_of(workspace, alive.pid)
        prepared(workspace)
        assert draft.exists()  # it may be a run of another fold that is just making it
        alive.kill()
        alive.wait()
        prepared(workspace)
        assert not draft.exists()
    assert len(cached(workspace)) == 1


def test_a_draft_left_by_an_error_is_removed_by_the_next_run(workspace):
    lost = workspace.catalog.micrographs()[5]
    place = workspace.folder / "objects" / lost.id[:2] / lost.id[2:]
    content = place.read_bytes()
    place.unlink()
    with pytest.raises(PlanError):
        prepared(workspace)
    place.write_bytes(content)
    prepared(workspace, workspace.catalog.micrographs()[:20])  # of another set, so of another name
    (only,) = cached(workspace)
    assert only.endswith(".npy")
