"""On real images the levels part them, and answers state what was measured."""

from collections import Counter

import pytest

from micrographia.measure import measure_image
from micrographia.micrographs.display import to_display
from micrographia.micrographs.read import decode
from micrographia.teach.claims import read_claims
from micrographia.teach.facts import facts_of
from micrographia.teach.generate import conversations
from micrographia.teach.levels import LEVELS
from micrographia.teach.measured import MeasuredTeacher
from micrographia.teach.questions import load
from tests.teach.records import micrograph

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def surfaces(real_data):
    """Facts of every 15th image of steel surfaces, by name."""
    files = sorted((real_data / "neu-cls" / "images").glob("*/*"))[::15]
    return {
        file.name: facts_of(
            micrograph(label=file.parent.name), measure_image(to_display(decode(file).pixels)[0])
        )
        for file in files
    }


@pytest.mark.parametrize("subject", LEVELS)
def test_no_level_takes_nearly_all_images(surfaces, subject):
    counts = Counter(facts[subject].value for facts in surfaces.values())
    assert set(counts) <= set(LEVELS[subject].values)
    assert max(counts.values()) < 0.8 * len(surfaces), counts


def test_rolled_in_scale_lies_along_the_strip_and_crazing_has_no_direction(surfaces):
    def share(label, subject, value):
        found = [
            f[subject].value == value for f in surfaces.values() if f["class"].value == label and subject in f
        ]
        return sum(found) / len(found)

    assert share("rolled-in_scale", "direction", "horizontal") > 0.9
    assert share("crazing", "alignment", "isotropic") > 0.9
    assert share("inclusion", "direction", "vertical") > 0.9


def test_every_answer_is_read_to_state_its_claims(surfaces):
    labels = {facts["class"].value for facts in surfaces.values()}
    sets = [load(name) for name in ("surfaces", "caption", "category")]
    for facts in list(surfaces.values())[::8]:
        record = micrograph(label=facts["class"].value)
        for conversation in conversations(record, facts, sets, MeasuredTeacher(), 0):
            stated = {claim.subject: claim.value for claim in conversation.claims}
            assert read_claims(conversation.answer, list(stated), labels) == stated
