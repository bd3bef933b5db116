"""The teaching stage: every micrograph once a course, the same after a kill as without."""

import pytest
from PIL import Image

from micrographia.errors import RecipeError, WorkLeftOut, WorkspaceError
from micrographia.measure.field import SIZES_VERSION
from micrographia.teach import generate
from micrographia.teach.generate import current_course, for_a_student, question_sets, questions_asked, teach
from tests.measure.drawn import discs
from tests.teach.workspaces import RECIPE, drawn_workspace


def kept(workspace):
    return list(workspace.catalog.conversations(current_course(workspace)))


def test_every_micrograph_gets_every_question_at_both_lengths(tmp_path):
    workspace = drawn_workspace(tmp_path)
    assert teach(workspace) == 6
    conversations = kept(workspace)
    assert len(conversations) == 6 * 2 * 22
    assert len({c.id for c in conversations}) == len(conversations)
    for micrograph in workspace.catalog.micrographs():
        category = [
            c.answer
            for c in conversations
            if c.micrographs == (micrograph.id,) and c.task == "category" and c.length == "short"
        ]
        assert category == [micrograph.label]


def test_teaching_again_changes_nothing_and_another_seed_is_another_course(tmp_path):
    workspace = drawn_workspace(tmp_path, copies=1)
    teach(workspace)
    before = kept(workspace)
    assert teach(workspace) == 0
    assert kept(workspace) == before
    other = workspace.recipe.model_copy(
        update={"teach": workspace.recipe.teach.model_copy(update={"seed": 1})}
    )
    workspace.recipe = other
    assert teach(workspace) == 3
    assert {c.answer for c in kept(workspace)} != {c.answer for c in before}


def test_a_run_that_ends_in_the_middle_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "BATCH", 2)
    whole, broken = (drawn_workspace(tmp_path / name) for name in ("whole", "broken"))
    teach(whole)

    class Killed(Exception):
        pass

    class AfterTheFirstBatch:
        def begin(self, task, total=None, unit="items"):
            self.teaching = task == "teaching"

        def advance(self, count=1, note=""):
            if self.teaching:
                raise Killed

        def end(self):
            pass

    with pytest.raises(Killed):
        teach(broken, AfterTheFirstBatch())
    assert 0 < len(kept(broken)) < len(kept(whole))
    assert teach(broken) == 4
    assert kept(broken) == kept(whole)


def test_another_choice_of_question_sets_is_another_course_and_loses_nothing(tmp_path):
    """Sets that both choices have are taught in both, and going back finds what was there."""
    workspace = drawn_workspace(tmp_path, copies=1)
    teach(workspace)
    first = workspace.recipe
    before = kept(workspace)
    fewer = first.model_copy(update={"teach": first.teach.model_copy(update={"questions": ["category"]})})
    workspace.recipe = fewer
    assert teach(workspace) == 3
    assert {c.task for c in kept(workspace)} == {"category"}
    assert len(kept(workspace)) == 3 * 2
    workspace.recipe = first
    assert teach(workspace) == 0 and kept(workspace) == before


def test_an_image_that_cannot_be_measured_is_named_and_the_rest_is_taught(tmp_path):
    workspace = drawn_workspace(tmp_path)
    lost = workspace.catalog.micrographs()[2]
    (workspace.folder / "objects" / lost.id[:2] / lost.id[2:]).unlink()
    with pytest.raises(WorkLeftOut, match=lost.name):
        teach(workspace)
    assert len({c.micrographs for c in kept(workspace)}) == 5
    assert [m.id for m in workspace.catalog.untaught(current_course(workspace))] == [lost.id]


def test_questions_about_the_header_carry_it(tmp_path):
    workspace = drawn_workspace(tmp_path, copies=1)
    teach(workspace)
    for conversation in kept(workspace):
        about_it = conversation.question in ("size", "technique")
        assert ("Header: image size 200 × 160 px" in conversation.prompt) <= about_it
        assert ("Header: image size" in conversation.prompt) == about_it


def test_questions_about_sizes_are_taught_where_the_recipe_asks_for_them(tmp_path):
    workspace = drawn_workspace(tmp_path, 1, RECIPE.replace("surfaces", "sizes"))
    assert teach(workspace) == 3
    asked = [c for c in kept(workspace) if c.question == "particle-size"]
    assert len(asked) == 3 * 2
    for conversation in asked:
        assert "Measured: particle diameter" in conversation.prompt
        assert not for_a_student(conversation)
    assert len(workspace.catalog.measurements(SIZES_VERSION)) == 3
    assert teach(workspace) == 0


def test_sizes_are_not_measured_where_nobody_asks(tmp_path):
    workspace = drawn_workspace(tmp_path, 1)
    teach(workspace)
    assert workspace.catalog.measurements(SIZES_VERSION) == {}


def test_questions_that_were_asked_are_as_a_person_would_ask_them(tmp_path):
    workspace = drawn_workspace(tmp_path)
    teach(workspace)
    of_sets = [set(q.ask) for s in question_sets(workspace) for q in s.questions if not q.about_the_header]
    found = questions_asked(filter(for_a_student, kept(workspace)))
    assert len(found) == len(of_sets)
    for phrasings in found:
        assert any({*phrasings} <= of_question for of_question in of_sets), phrasings


def test_a_set_that_does_not_exist_stops_before_any_work(tmp_path):
    workspace = drawn_workspace(tmp_path, 1, RECIPE.replace("surfaces", "colours"))
    with pytest.raises(RecipeError, match="'colours'"):
        teach(workspace)
    assert workspace.catalog.count()["measurements"] == 0


def test_two_classes_with_one_name_stop_before_any_work(tmp_path):
    twin = tmp_path / "images" / "Bars"
    twin.mkdir(parents=True)
    Image.fromarray(discs(9, seed=9)).save(twin / "0.png")
    workspace = drawn_workspace(tmp_path, 1)
    with pytest.raises(WorkspaceError, match="'Bars' and 'bars'"):
        teach(workspace)
    assert workspace.catalog.count()["measurements"] == 0
