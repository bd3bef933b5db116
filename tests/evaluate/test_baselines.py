import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.evaluate import baselines as b


def test_the_commonest_comes_first_and_shares_sum_to_one():
    assert b.commonest(["b", "a", "c", "a", "c", "a"]) == (("a", 3 / 6), ("c", 2 / 6), ("b", 1 / 6))


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_the_commonest_does_not_depend_on_order(training):
    ranking = b.commonest(training)
    assert ranking == b.commonest(training[::-1])
    assert sum(share for _, share in ranking) == pytest.approx(1)


def test_the_commonest_of_nothing_is_refused():
    with pytest.raises(ValueError, match="training holds no"):
        b.commonest([])


def test_nearest_is_by_angle_and_exact():
    rng = np.random.default_rng(0)
    training, test = rng.normal(size=(300, 16)), rng.normal(size=(40, 16))
    rows, cosines = b.nearest(training.astype(np.float32), test.astype(np.float32) * 100)
    unit = training / np.linalg.norm(training, axis=1, keepdims=True)
    expected = (test / np.linalg.norm(test, axis=1, keepdims=True)) @ unit.T
    assert rows.tolist() == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(cosines, expected.max(axis=1), atol=1e-5)


def test_classes_are_ranked_by_their_nearest_image():
    training = np.array([[1, 0], [0.9, 0.1], [0, 1], [-1, 0]], dtype=np.float32)
    labels = ["pores", "fibres", "tips", "pores"]
    test = np.array([[1, 0.01], [0.1, 1], [-1, 0.1]], dtype=np.float32)
    assert b.nearest_classes(training, labels, test) == [
        ("pores", "fibres", "tips"),
        ("tips", "fibres", "pores"),
        ("pores", "tips", "fibres"),
    ]


def test_the_first_class_is_that_of_the_nearest_image():
    rng = np.random.default_rng(1)
    training, test = (rng.normal(size=(n, 8)).astype(np.float32) for n in (60, 20))
    labels = [str(label) for label in rng.integers(0, 5, 60)]
    rows, _ = b.nearest(training, test)
    assert [r[0] for r in b.nearest_classes(training, labels, test)] == [labels[i] for i in rows]


def test_the_nearest_image_that_was_asked_the_question_answers():
    training = np.array([[1, 0], [0.8, 0.2], [0, 1]], dtype=np.float32)
    test = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert b.nearest_answers(training, [None, "near", "far"], test) == ["near", "far"]
    with pytest.raises(ValueError, match="no training image has an answer"):
        b.nearest_answers(training, [None, None, None], test)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_an_embedding_without_direction_is_refused(bad):
    training = np.ones((3, 2), dtype=np.float32)
    training[1] = bad
    with pytest.raises(ValueError, match="embedding 1 has length"):
        b.nearest(training, np.ones((1, 2), dtype=np.float32))


def test_noise_has_the_shape_asked_for_and_no_content():
    image = b.noise_image((200, 300), seed=5)
    assert (image.shape, image.dtype) == ((200, 300), np.uint8)
    np.testing.assert_array_equal(image, b.noise_image((200, 300), seed=5))
    assert (image != b.noise_image((200, 300), seed=6)).mean() > 0.99
    neighbours = np.corrcoef(image[:, :-1].ravel(), image[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.02
    assert b.noise_image((4, 5, 3), seed=0).shape == (4, 5, 3)
