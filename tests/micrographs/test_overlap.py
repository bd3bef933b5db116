"""Fields that share a place are found; fields that share only a databar, a label or a texture are not."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from micrographia.catalog.bonds import joined
from micrographia.micrographs import overlap
from micrographia.micrographs.display import to_display
from micrographia.micrographs.overlap import LANDMARK, LANDMARKS, landmarks, overlapping
from micrographia.micrographs.read import decode
from tests.micrographs import files


def surface(seed, rows=400, columns=400):
    """A rough surface, on which every place looks a little different."""
    rng = np.random.default_rng(seed)
    rough = sum(gaussian_filter(rng.normal(size=(rows, columns)), s) * s for s in (1.5, 3, 6))
    return np.clip(128 + 35 * rough / rough.std(), 0, 255).astype(np.uint8)


def found(images):
    return set(overlapping({name: landmarks(image) for name, image in images.items()}))


@pytest.mark.parametrize("shift", [(0, 60), (90, 0), (70, 110), (-50, 80), (10, 5)])
def test_a_shifted_field_is_found(shift):
    place = surface(0)
    row, column = 100, 100
    here = place[row : row + 200, column : column + 200]
    there = place[row + shift[0] : row + shift[0] + 200, column + shift[1] : column + shift[1] + 200]
    assert found({"a": here, "b": there}) == {("a", "b")}


@pytest.mark.parametrize(
    "lit",
    [
        lambda p: (p * 0.5 + 90).astype(np.uint8),
        lambda p: np.clip(p + np.random.default_rng(5).normal(0, 3, p.shape), 0, 255).astype(np.uint8),
        lambda p: np.clip(p * np.linspace(0.6, 1.2, p.shape[1]), 0, 255).astype(np.uint8),
        lambda p: decode(files.jpeg(p, quality=60)).pixels,
    ],
    ids=["darker", "noisy", "uneven light", "jpeg"],
)
def test_however_it_is_lit(lit):
    place = surface(1)
    assert found({"a": place[:200, :200], "b": lit(place[60:260, 40:240])}) == {("a", "b")}


def test_size_of_the_fields_may_differ_and_large_ones_are_binned():
    place = surface(2, 1200, 1200)
    assert found({"a": place[:900, :1000], "b": place[180:1080, 150:1150]}) == {("a", "b")}
    small = surface(3)
    assert found({"a": small[:200, :300], "b": small[50:350, 40:240]}) == {("a", "b")}


def test_neighbours_of_one_texture_share_nothing():
    place = surface(4, 1000, 1000)
    fields = {
        f"{r}{c}": place[200 * r : 200 * r + 200, 200 * c : 200 * c + 200] for r in range(5) for c in range(5)
    }
    assert found(fields) == set()


def databar(pixels, text):
    """A maker's strip below and a label above, as two images of one instrument share them."""
    image = Image.fromarray(np.vstack([pixels, np.zeros((24, pixels.shape[1]), np.uint8)]))
    draw = ImageDraw.Draw(image)
    draw.text((4, pixels.shape[0] + 6), text, fill=255)
    draw.rectangle((150, pixels.shape[0] + 4, 190, pixels.shape[0] + 8), fill=255)
    draw.text((4, 2), "specimen A", fill=255)
    return np.asarray(image)


@pytest.mark.parametrize("contrast", [0, 0.1, 1])
def test_a_databar_is_no_place(contrast):
    text = "10.0 kV  WD 5.1 mm  x 2,000   20 um"
    images = {
        str(i): databar((surface(10 + i, 300, 300) * contrast).astype(np.uint8), text) for i in range(12)
    }
    assert found(images) == set()


def test_gratings_stay_cheap_and_unbound(monkeypatch):
    """Every line of a grating looks like every other: no shift can be told, and no square is paid."""
    column = np.arange(300)
    images = {}
    for i in range(40):
        lines = 128 + 60 * np.sin(2 * np.pi * (column + i) / (11 + i % 5))
        noise = np.random.default_rng(i).normal(0, 6, (300, 300))
        images[str(i)] = np.clip(lines + noise, 0, 255).astype(np.uint8)
    packed = [np.frombuffer(landmarks(image), LANDMARK)[1:] for image in images.values()]
    words = np.concatenate([p["word"] for p in packed])
    image = np.repeat(np.arange(len(packed)), [len(p) for p in packed])
    assert len(overlap._matches(words, image)) <= len(words) * overlap.NEIGHBOURS * 8
    assert found(images) == set()


@pytest.mark.parametrize("image", [np.zeros((50, 50), np.uint8), files.texture(20, 300), files.texture(1, 1)])
def test_images_without_landmarks(image):
    packed = landmarks(image)
    assert len(packed) == LANDMARK.itemsize
    assert list(overlapping({"a": packed, "b": packed})) == []
    assert list(overlapping({})) == []


def test_landmarks_are_few_apart_and_the_same_each_time():
    image = surface(6)
    marks = np.frombuffer(landmarks(image), LANDMARK)
    assert tuple(marks[0])[:2] == (400, 400)
    assert len(marks) == LANDMARKS + 1
    quarter = {(m["row"] // 100, m["column"] // 100) for m in marks[1:]}
    assert len(quarter) == 16
    assert landmarks(image) == landmarks(image.copy())
    assert landmarks(np.dstack([image] * 3)) == landmarks(image)


@pytest.mark.real
def test_steel_fields_overlap_only_within_their_class(real_data):
    """Many of these were cut from one strip; a wrong pair would join two classes in five of six cases."""
    packed = {}
    for path in sorted((real_data / "neu-cls" / "images").rglob("*.jpg")):
        if int(path.stem.rpartition("_")[2]) <= 40:
            packed[path.stem] = landmarks(to_display(decode(path).pixels)[0])
    pairs = list(overlapping(packed))
    assert len(pairs) > 100
    assert all(a.rpartition("_")[0] == b.rpartition("_")[0] for a, b in pairs)
    assert ("scratches_34", "scratches_35") in pairs
    nearby = [abs(int(a.rpartition("_")[2]) - int(b.rpartition("_")[2])) <= 10 for a, b in pairs]
    assert np.mean(nearby) > 0.8


@pytest.mark.real
def test_textures_of_one_sample_overlap_only_where_they_were_re_lit(real_data):
    """KTH-TIPS: images 1-3, 4-6 and 7-9 of a scale are one pose under three lights."""
    packed = {}
    for path in sorted((real_data / "kth-tips" / "orange_peel").rglob("*.png")):
        packed[path.stem] = landmarks(to_display(decode(path).pixels)[0])
    clusters = joined(overlapping(packed))
    assert clusters
    poses = {name: (name.split("_")[1], (int(name.split("_")[3]) - 1) // 3) for name in packed}
    for one, other in itertools.combinations(clusters, 2):
        assert clusters[one] != clusters[other] or poses[one] == poses[other]
