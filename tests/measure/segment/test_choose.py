"""Which zoom and method are taken, what is recorded of the choice, and when the outlines are not trusted."""

import numpy as np
import pytest
from scipy import ndimage

from micrographia import phantoms
from micrographia.measure.segment import Segmentation, segment
from micrographia.measure.segment.choose import LARGEST_ZOOM, TRUSTED, ZOOMED_SIDES
from micrographia.measure.segment.classical import by_threshold
from tests.measure.drawn import discs


@pytest.fixture(scope="module")
def field():
    """Six discs on an even ground."""
    return discs(6, radius=12, shape=(160, 200))


@pytest.fixture(scope="module")
def found(field):
    return segment(field)


def noise(blur, spread, shape=(150, 170)):
    values = np.random.default_rng(0).normal(size=shape)
    values = ndimage.gaussian_filter(values, blur) if blur else values
    return np.clip(128 + spread * values / values.std(), 0, 255).astype(np.uint8)


def median_area(segmentation):
    return np.median(np.bincount(segmentation.labels.ravel())[1:])


def test_discs_are_found_where_they_lie(field, found):
    assert found.trusted
    assert found.labels.max() == 6
    assert ((found.labels > 0) != (field < 120)).mean() < 0.01
    assert median_area(found) == pytest.approx(np.pi * 12**2, rel=0.05)


def test_a_heap_of_spheres_is_counted_and_a_quarter_turn_changes_little():
    drawn = phantoms.draw("Particles", 3, (160, 160), variety="spherical particles")
    upright, turned = (segment(image) for image in (drawn.image, np.rot90(drawn.image).copy()))
    assert upright.trusted
    assert upright.labels.max() == pytest.approx(len(drawn.truth.objects), rel=0.15)
    assert turned.labels.max() == pytest.approx(upright.labels.max(), rel=0.05)
    assert median_area(turned) == pytest.approx(median_area(upright), rel=0.05)


def test_twice_the_resolution_shows_the_same_particles(field, found):
    fine = segment(field.repeat(2, 0).repeat(2, 1))
    assert fine.labels.max() == found.labels.max()
    assert median_area(fine) == pytest.approx(4 * median_area(found), rel=0.05)
    assert fine.confidence == pytest.approx(found.confidence, abs=0.05)


@pytest.mark.parametrize("method", ["auto", "network", "threshold"])
@pytest.mark.parametrize("shape", [(56, 77), (131, 64), (97, 300)])
def test_labels_are_of_the_fields_size_and_numbered_without_gaps(method, shape):
    segmentation = segment(noise(2, 30, shape), method)
    assert segmentation.labels.shape == shape
    assert segmentation.labels.dtype == np.int32
    labels = segmentation.labels
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, labels.max() + 1))
    assert 0 <= segmentation.confidence <= 1


def test_the_zoom_is_told_and_is_one_of_those_tried(field, found):
    zooms = [side / min(field.shape) for side in ZOOMED_SIDES]
    assert found.method in {f"network at zoom {zoom:.2g}" for zoom in zooms if zoom <= LARGEST_ZOOM}
    assert found.reason == f"the network is surest at this zoom: {found.confidence:.2f}"


def test_the_network_that_was_asked_for_is_the_same_and_says_so(field, found):
    asked = segment(field, "network")
    assert (asked.method, asked.reason) == (found.method, "asked for")
    assert np.array_equal(asked.labels, found.labels)


def test_the_threshold_that_was_asked_for_is_what_is_given(field):
    asked = segment(field, "threshold")
    assert (asked.method, asked.reason) == ("threshold", "asked for")
    assert np.array_equal(asked.labels, by_threshold(field))
    assert asked.trusted


@pytest.mark.parametrize("shape", [(64, 64), (150, 170)])
@pytest.mark.parametrize("level", [0, 255])
def test_an_even_field_is_not_trusted_and_has_no_particle_by_threshold(level, shape):
    even = np.full(shape, level, np.uint8)
    assert not segment(even).trusted
    assert not segment(even, "threshold").labels.any()


@pytest.mark.parametrize(("blur", "spread"), [(0, 3), (0, 40), (1, 20), (4, 40)])
def test_noise_is_not_trusted(blur, spread):
    assert not segment(noise(blur, spread)).trusted


@pytest.mark.parametrize("shape", [(55, 55), (40, 200), (1, 1)])
def test_a_small_field_has_an_answer(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert segment(grey).labels.shape == shape


@pytest.mark.parametrize(("confidence", "trusted"), [(0.0, False), (TRUSTED - 0.01, False), (TRUSTED, True)])
def test_what_is_trusted(confidence, trusted):
    labels = np.zeros((4, 4), np.int32)
    assert Segmentation(labels, confidence, "network at zoom 1", "asked for").trusted == trusted
