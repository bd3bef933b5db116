"""Features of a locked eye stand for its pixels."""

import numpy as np
import pytest
import torch

from micrographia.tune.features import VIEWS, FeatureSight, PixelSight, laid_down, look, look_once
from tests.students.tiny import EOS, questions, tiny_student, words
from tests.tune.small import Counting, noise


def test_the_eight_views_are_all_different():
    pixels = noise(1)
    images = laid_down(pixels, [0] * 8, range(8))
    assert len({image.numpy().tobytes() for image in images}) == 8
    for view, (turns, mirrored) in enumerate(VIEWS):
        image = np.fliplr(pixels[0, 0]) if mirrored else pixels[0, 0]
        assert np.array_equal(images[view, 0].numpy(), np.rot90(image, turns))


def test_features_are_what_the_eye_sees_in_that_view(tmp_path):
    student, pixels = tiny_student(), noise(20)
    rows = [0, 3, 19, 7, *range(8, 19)]
    sight = look(student.eval(), pixels, rows, tmp_path / "features", Counting())
    asked, views = [19, 3, 3, 8], [0, 1, 6, 3]
    given = sight(asked, views)
    with torch.no_grad():
        seen = student.vision(PixelSight(pixels)(asked, views)["pixel_values"])
    torch.testing.assert_close(given["image_tokens"], seen.tokens, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(given["image_cls"], seen.cls, rtol=2e-3, atol=2e-3)
    assert not np.any(sight.tokens[1])  # nobody asked for row 1


def test_loss_through_features_is_loss_through_pixels(tmp_path):
    student, pixels = tiny_student(), noise(4)
    sight = look(student.eval(), pixels, range(4), tmp_path, Counting())
    ids = torch.cat([questions(4), words(4, 5, seed=3), torch.full((4, 1), EOS)], dim=1)
    labels = ids.clone()
    labels[:, :5] = -100
    texts = {"input_ids": ids, "labels": labels, "itc_input_ids": words(4, 4, seed=9)}
    for views in ([0] * 4, [1, 5, 2, 7]):
        with torch.no_grad():
            through_features = student(**sight(range(4), views), **texts)
            through_pixels = student(**PixelSight(pixels)(range(4), views), **texts)
        for part in ("itc", "itm", "lm", "loss"):
            torch.testing.assert_close(through_features[part], through_pixels[part], rtol=5e-3, atol=5e-3)


def test_what_was_looked_at_is_not_looked_at_again(tmp_path):
    student, pixels = tiny_student(), noise(5)
    progress = Counting()
    first = look(student.eval(), pixels, range(5), tmp_path, progress)
    again = look(student.eval(), pixels, range(5), tmp_path, progress)
    assert progress.tasks == {"looking at the images": 5}
    assert isinstance(again, FeatureSight)
    assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.cls, again.cls)


def test_what_a_kill_left_out_is_added_and_nothing_is_looked_at_twice(tmp_path):
    student, pixels = tiny_student(), noise(20)

    class Killed(Counting):
        def advance(self, count=1, note=""):
            raise KeyboardInterrupt

    whole = look(student, pixels, range(20), tmp_path / "whole", Counting())
    with pytest.raises(KeyboardInterrupt):
        look(student, pixels, range(20), tmp_path / "half", Killed())
    progress = Counting()
    again = look(student, pixels, range(20), tmp_path / "half", progress)
    assert progress.tasks == {"looking at the images": 4}
    assert np.array_equal(whole.tokens, again.tokens) and np.array_equal(whole.cls, again.cls)


def test_fewer_views_take_less_room(tmp_path):
    student, pixels = tiny_student(), noise(3)
    every = look(student, pixels, range(3), tmp_path / "every", Counting())
    one = look(student, pixels, range(3), tmp_path / "one", Counting(), views=1)
    assert one.tokens.shape[1] == 1
    assert np.array_equal(every.tokens[:, :1], one.tokens)


def test_an_eye_looks_at_new_images_alone_and_the_former_set_is_removed(tmp_path):
    student, pixels = tiny_student().eval(), noise(6)
    whole = look(student, pixels, range(6), tmp_path / "whole", Counting())
    keys = list("abcdef")

    def look_at(chosen):
        progress = Counting()
        rows = [keys.index(key) for key in chosen]
        sight = look_once(student, pixels[rows], chosen, range(len(rows)), tmp_path / "features", progress)
        for seen, expected in ((sight.tokens, whole.tokens), (sight.cls, whole.cls)):
            np.testing.assert_allclose(seen, expected[rows], rtol=2e-3, atol=2e-3)
        assert len(list((tmp_path / "features").iterdir())) == 1
        return progress.tasks

    assert look_at(["a", "b", "c", "d"]) == {"looking at the images": 4}
    assert look_at(["a", "b", "c", "d"]) == {}
    assert look_at(["e", "d", "a", "f"]) == {"looking at the images": 2}
    assert look_at(["a", "e"]) == {}


def test_a_set_that_was_not_looked_at_to_its_end_is_not_taken_over(tmp_path):
    student, pixels = tiny_student().eval(), noise(20)

    class Killed(Counting):
        def advance(self, count=1, note=""):
            raise KeyboardInterrupt

    keys = [str(row) for row in range(20)]
    with pytest.raises(KeyboardInterrupt):
        look_once(student, pixels, keys, range(20), tmp_path, Killed())
    progress = Counting()
    look_once(student, pixels[:10], keys[:10], range(10), tmp_path, progress)
    assert progress.tasks == {"looking at the images": 10}
