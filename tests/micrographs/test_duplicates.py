"""The same picture in another coat is found; another picture of the same stuff is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from micrographia.catalog.bonds import joined
from micrographia.micrographs.display import to_display
from micrographia.micrographs.duplicates import MAX_DISTANCE, close, fingerprint, thumbnail
from micrographia.micrographs.read import decode
from tests.micrographs import files

PICTURE = files.texture(300, 400)


def distance(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


def clusters(codes):
    return joined(close(codes))


def resized(pixels, columns, rows):
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC))


COATS = {
    "jpeg": lambda p: decode(files.jpeg(p, quality=30)).pixels,
    "half": lambda p: resized(p, 200, 150),
    "larger": lambda p: resized(p, 671, 503),
    "brighter": lambda p: (p * 0.6 + 80).astype(np.uint8),
    "gamma": lambda p: (255 * (p / 255) ** 0.7).astype(np.uint8),
    "noise": lambda p: np.clip(p + np.random.default_rng(1).normal(0, 8, p.shape), 0, 255).astype(np.uint8),
    "16 bits": lambda p: to_display(p.astype(np.uint16) * 150 + 900)[0],
    "colour": lambda p: np.dstack([p, p, p // 2]),
}


@pytest.mark.parametrize("coat", COATS)
def test_another_coat_of_the_same_picture_is_near(coat):
    assert distance(fingerprint(PICTURE), fingerprint(COATS[coat](PICTURE))) <= MAX_DISTANCE


def test_other_pictures_of_the_same_texture_are_far():
    codes = [fingerprint(files.texture(200, 200, seed)) for seed in range(30)]
    assert min(distance(a, b) for a, b in itertools.combinations(codes, 2)) > MAX_DISTANCE


def test_flat_images_have_no_fingerprint_and_are_not_alike():
    flat = {f"{i}": fingerprint(np.full((50, 60), i, np.uint8)) for i in range(5)}
    assert set(flat.values()) == {""}
    assert clusters(flat) == {}


def test_the_thumbnail_is_an_exact_area_average(monkeypatch):
    pixels = files.texture(97, 55)
    repeated = pixels.repeat(32, 0).repeat(32, 1).astype(float)  # 32 x size: whole pixels in every cell
    expected = repeated.reshape(32, 97, 32, 55).mean((1, 3))
    assert np.allclose(thumbnail(pixels), expected)
    monkeypatch.setattr("micrographia.micrographs.duplicates.ROWS_AT_ONCE", 10)
    assert np.allclose(thumbnail(pixels), expected)


def test_clusters_are_named_by_their_smallest_id():
    near = [fingerprint(COATS[coat](PICTURE)) for coat in ("jpeg", "half", "gamma")]
    others = [fingerprint(files.texture(200, 200, seed)) for seed in range(5)]
    codes = {"d": near[0], "b": near[1], "c": near[2]} | {f"other{i}": code for i, code in enumerate(others)}
    assert clusters(codes) == {"b": "b", "c": "b", "d": "b"}
    assert clusters({}) == {}


def test_the_index_misses_no_pair():
    """Against all pairs: codes around common centres, with up to as many bits flipped as are allowed."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2, (40, 256))
    often = np.linspace(0.05, 0.24, 256)  # high frequencies are disturbed more often, as measured
    codes = {}
    for i, centre in enumerate(centres.repeat(6, 0)):
        bits = centre ^ (rng.random(256) < often / 2)
        codes[f"{i:03}"] = np.packbits(bits).tobytes().hex()
    pairs = [
        (a, b) for a, b in itertools.combinations(codes, 2) if distance(codes[a], codes[b]) <= MAX_DISTANCE
    ]
    assert len(pairs) > 300
    assert clusters(codes) == joined(pairs)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_joined_is_an_equivalence(pairs):
    cluster = joined(pairs)
    assert set(cluster) == {name for pair in pairs for name in pair}
    for one, other in pairs:
        assert cluster[one] == cluster[other] <= min(one, other)
    assert joined(reversed(pairs)) == cluster


@pytest.mark.real
def test_the_known_duplicate_among_real_images(real_data):
    folder = real_data / "neu-cls" / "images" / "patches"
    codes = {path.name: fingerprint(decode(path).pixels) for path in sorted(folder.glob("*.jpg"))}
    assert clusters(codes) == {"patches_101.jpg": "patches_101.jpg", "patches_105.jpg": "patches_101.jpg"}
