"""What the segmenter is taught, and that a run that was stopped ends as one that was not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file

from micrographia.measure.segment.network import PARTICLES, SegmenterNetwork, standardised
from micrographia.phantoms.dispersions import Dispersion, draw_dispersion, draw_strands
from micrographia.tune import segmenter
from micrographia.tune.segmenter import (
    Task,
    batches,
    contact_of,
    draw_particle_batch,
    outline_of,
    particle_loss,
    strand_targets_of,
    targets_of,
    train,
)

AT_ONCE, SIZE, SIDE = 8, 4, 32
"""Images drawn at once here, of a batch, and pixels of their sides: two batches a draw."""
STEPS, RATE = 6, 0.4
"""The rate rises over 200 steps: so high, a few steps show in the weights."""
small_labels = arrays.arrays(
    np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)
)


def beside(labels, reach):
    """For each pixel the set of labels within ``reach`` of it, by looking at them one after another."""
    rows, columns = labels.shape
    return [
        [
            set(labels[max(0, r - reach) : r + reach + 1, max(0, c - reach) : c + reach + 1].ravel().tolist())
            for c in range(columns)
        ]
        for r in range(rows)
    ]


class TestTargets:
    @settings(deadline=None, max_examples=60)
    @given(small_labels)
    def test_contact_is_where_another_particle_lies_within_two_pixels(self, labels):
        near = beside(labels, 2)
        expected = [
            [bool(own and seen - {0, own}) for own, seen in zip(*rows, strict=True)]
            for rows in zip(labels.tolist(), near, strict=True)
        ]
        assert contact_of(labels).tolist() == expected

    @settings(deadline=None, max_examples=60)
    @given(small_labels)
    def test_an_outline_is_where_one_label_meets_another_or_ground(self, labels):
        expected = [[len(seen) > 1 for seen in row] for row in beside(labels, 1)]
        assert outline_of(labels).tolist() == expected

    @settings(deadline=None, max_examples=20)
    @given(st.integers(0, 10**6), st.integers(0, 3))
    def test_targets_turn_with_the_labels_and_lie_between_0_and_1(self, seed, turns):
        labels = draw_dispersion(np.random.default_rng(seed), 48).labels
        targets = targets_of(labels)
        assert (targets.shape, targets.dtype) == ((3, 48, 48), np.float32)
        assert targets.min() >= 0
        assert targets.max() <= 1
        if (labels == 0).any():  # what fills the image has no outline to be deep within
            turned = targets_of(np.rot90(labels, turns).copy())
            assert np.allclose(turned, np.rot90(targets, turns, (1, 2)), atol=1e-6)

    def test_discs_that_touch_touch_only_where_they_meet(self):
        row, column = np.mgrid[:60, :80]
        left, right = np.hypot(row - 30, column - 25) <= 15, np.hypot(row - 30, column - 55) <= 15
        labels = (left + 2 * (right & ~left)).astype(np.int32)
        foreground, contact, depth = targets_of(labels)
        assert np.array_equal(foreground, left | right)
        touching = np.argwhere(contact)
        assert len(touching) > 0
        assert np.abs(touching - [30, 40]).max() <= 6
        assert depth[30, 25] > 0.95
        assert depth[30, 55] > 0.95
        assert depth[contact > 0].max() < 0.4

    def test_particles_are_no_strands(self):
        drawn = draw_dispersion(np.random.default_rng(0), 48)
        assert drawn.labels.any()
        assert not strand_targets_of(drawn).any()

    def test_strands_have_outlines_and_the_depth_that_was_drawn(self):
        drawn = draw_strands(np.random.default_rng(0), 48)
        strand, outline, depth = strand_targets_of(drawn)
        assert np.array_equal(strand > 0, drawn.labels > 0)
        assert np.array_equal(outline > 0, outline_of(drawn.labels))
        assert np.array_equal(depth, drawn.depth)

    def test_a_depth_that_is_not_known_stays_so(self):
        labels = np.ones((5, 5), np.int32)
        unknown = Dispersion(np.zeros((5, 5), np.uint8), labels, np.full((5, 5), np.nan, np.float32))
        assert np.isnan(strand_targets_of(unknown)[2]).all()


class TestLoss:
    def perfect(self):
        """Targets of a drawing, and outputs that say just that."""
        targets = torch.from_numpy(targets_of(draw_dispersion(np.random.default_rng(1), 48).labels))[None]
        return torch.cat([40 * targets[:, :2] - 20, targets[:, 2:]], 1), targets

    def test_is_0_where_all_is_told_as_it_is(self):
        assert particle_loss(*self.perfect()).item() == pytest.approx(0, abs=1e-3)

    @pytest.mark.parametrize("channel", [0, 1, 2])
    def test_grows_with_every_error(self, channel):
        outputs, targets = self.perfect()
        losses = []
        for part in (0.0, 0.25, 1.0):
            wrong = outputs.clone()
            wrong[:, channel] = (1 - 2 * part) * outputs[:, channel] + (channel == 2) * part
            losses.append(particle_loss(wrong, targets).item())
        assert losses[0] < losses[1] < losses[2]


@pytest.fixture
def small(monkeypatch):
    """Eight images are drawn at once, of fewer and smaller pieces."""
    monkeypatch.setattr(segmenter, "DRAWN_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(segmenter, "CUTS", 2)
    monkeypatch.setattr(segmenter, "OTHERS", 2)
    monkeypatch.setattr(segmenter, "SIDE", SIDE)
    monkeypatch.setattr(segmenter, "WHOLE", 2 * SIDE)


def draw(seed):
    """As the tasks draw, and quickly."""
    rng = np.random.default_rng(seed)
    drawn = [draw_dispersion(rng, SIDE) for _ in range(AT_ONCE)]
    images = np.stack([standardised(one.image)[None] for one in drawn]).astype(np.float16)
    return images, np.stack([targets_of(one.labels) for one in drawn]).astype(np.float16)


def where_bright(seed):
    """Images whose targets are where they are bright."""
    images, _ = draw(seed)
    return images, np.repeat(images > 0, 3, axis=1).astype(np.float16)


def draw_nothing(seed):
    raise ValueError(f"no image of {seed}")


@pytest.fixture
def task(small, tmp_path):
    return Task(draw, particle_loss, tmp_path / "weights.safetensors")


def trained(task, tmp_path, steps=STEPS):
    train(task, steps, SIZE, RATE, 1, tmp_path / "draft", save_every=-1)
    return load_file(task.weights)


class Stopped(Exception):
    pass


def stopped_after(task, steps):
    """The same task in a process that ends when it has done so many steps."""
    done = []

    def loss(outputs, targets):
        if len(done) == steps:
            raise Stopped
        done.append(1)
        return task.loss(outputs, targets)

    return replace(task, loss=loss)


def test_a_batch_of_each_kind_of_drawing_is_standardised_and_drawn_again_by_its_number(small):
    images, targets = draw_particle_batch(3)
    assert images.shape == (AT_ONCE, 1, SIDE, SIDE)
    assert targets.shape == (AT_ONCE, 3, SIDE, SIDE)
    assert np.abs(images.astype(float).mean((1, 2, 3))).max() < 0.01
    assert images.astype(float).std((1, 2, 3)) == pytest.approx(np.ones(AT_ONCE), abs=0.01)
    assert targets.min() >= 0
    assert targets.max() <= 1
    again, other = draw_particle_batch(3), draw_particle_batch(4)
    assert np.array_equal(images, again[0])
    assert np.array_equal(targets, again[1])
    assert not np.array_equal(images, other[0])


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_every_use_of_a_drawing_is_turned_otherwise_and_its_targets_with_it(small, tmp_path, uses):
    task = Task(where_bright, particle_loss, tmp_path / "none", uses=uses)
    drawn = torch.from_numpy(where_bright(0)[0].astype(np.float32))
    seen = list(batches(task, 0, uses * AT_ONCE // SIZE, SIZE, 1))
    for images, targets in seen:
        assert torch.equal(targets, (images > 0).float().expand(-1, 3, -1, -1))
    for number, one in enumerate(drawn):
        ways = [one.rot90(k, (1, 2)) for k in range(4)]
        ways += [way.flip(2) for way in ways]
        met = [images[number % SIZE] for images, _ in seen[number // SIZE :: AT_ONCE // SIZE]]
        found = [[k for k, way in enumerate(ways) if torch.equal(way, image)] for image in met]
        assert len(found) == uses
        assert all(len(way) == 1 for way in found)
        assert len({way[0] for way in found}) == uses


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 6),
        (2, 6),
        (4, 6),
        (1, 6),
        (3, 6),
        (2, 5),
    ],
)
def test_a_step_has_the_same_images_wherever_the_run_began(task, first, last):
    whole = list(batches(task, 0, 6, SIZE, 1))
    part = list(batches(task, first, last, SIZE, 1))
    assert len(part) == last - first
    for (images, targets), (others, of_others) in zip(part, whole[first:last], strict=True):
        assert torch.equal(images, others)
        assert torch.equal(targets, of_others)


def test_an_image_that_cannot_be_drawn_stops_the_run_with_its_reason(small, tmp_path):
    with pytest.raises(RuntimeError, match="no image of 0"):
        next(batches(Task(draw_nothing, particle_loss, tmp_path / "none"), 0, 2, SIZE, 1))


def test_training_writes_weights_that_load_and_leaves_no_draft(task, tmp_path):
    weights = trained(task, tmp_path, steps=2)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    SegmenterNetwork().load_state_dict({name: value.float() for name, value in weights.items()})
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_run_begins_with_the_weights_it_is_told(task, tmp_path):
    weights, start = trained(replace(task, start=PARTICLES), tmp_path, steps=0), load_file(PARTICLES)
    assert weights.keys() == start.keys()
    assert all(torch.equal(weights[name], start[name].half()) for name in start)


@pytest.mark.parametrize("done", [2, 4, 3, 1])
def test_a_run_that_was_stopped_and_goes_on_ends_with_the_same_weights(task, tmp_path, done):
    whole = trained(task, tmp_path)
    task.weights.unlink()
    with pytest.raises(Stopped):
        trained(stopped_after(task, done), tmp_path)
    assert not task.weights.exists()
    went_on = trained(task, tmp_path)
    assert whole.keys() == went_on.keys()
    for name, value in whole.items():
        assert torch.allclose(value.float(), went_on[name].float(), atol=1e-3), name


def test_the_loss_falls_on_a_batch_that_is_seen_again_and_again(small, tmp_path):
    task = Task(lambda _: where_bright(0), particle_loss, tmp_path / "weights.safetensors")
    images, targets = (torch.from_numpy(values.astype(np.float32)) for values in where_bright(0))
    torch.manual_seed(0)
    network = SegmenterNetwork()
    losses = []
    for steps in (0, 16):
        weights = trained(task, tmp_path, steps)
        network.load_state_dict({name: value.float() for name, value in weights.items()})
        with torch.inference_mode():
            losses.append(particle_loss(network(images), targets).item())
    assert losses[1] < 0.7 * losses[0]
