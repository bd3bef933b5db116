"""The direction of drawn stripes, and no direction where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia.measure.orientation import coherence, direction
from micrographia.measure.view import working_view
from micrographia.micrographs.display import luma
from tests.measure.drawn import discs, stripes


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 179.9), st.floats(12, 40))
def test_stripes_give_their_angle(angle, period):
    view = working_view(luma(stripes(angle, period=period)))
    difference = (direction(view).quantity.value - angle + 90) % 180 - 90
    assert abs(difference) < 1.5
    assert coherence(view).quantity.value > 0.8


def test_an_isotropic_image_has_no_direction():
    rng = np.random.default_rng(1)
    refused = direction(working_view(rng.uniform(0, 255, (256, 256))))
    assert refused.quantity is None
    assert "coherence" in refused.refused


@pytest.mark.parametrize("n", [1, 10])
def test_discs_are_isotropic(n):
    assert coherence(working_view(luma(discs(n)))).quantity.value < 0.1
