"""A workspace is a folder with a recipe; everything else lies where it says."""

from pathlib import Path

import psutil
import pytest

from micrographia.errors import RecipeError, WorkspaceError
from micrographia.recipe import shipped_text
from micrographia.workspace import RECIPE, Workspace, open_workspace


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_workspace_is_its_recipe_comments_and_all(tmp_path):
    made = Workspace.create(tmp_path / "a" / "lab", shipped_text("mvaema"))
    assert names(made.folder) == [RECIPE]
    assert (made.folder / RECIPE).read_text(encoding="utf-8") == shipped_text("mvaema")
    assert Workspace(made.folder).recipe == made.recipe


def test_what_is_there_is_never_overwritten(tmp_path):
    Workspace.create(tmp_path, "tune: {epochs: 3}")
    with pytest.raises(WorkspaceError, match=r"is a workspace already.*edit"):
        Workspace.create(tmp_path, "tune: {epochs: 4}")
    assert Workspace(tmp_path).recipe.tune.epochs == 3


def test_a_wrong_recipe_makes_no_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"tune\.epochs"):
        Workspace.create(tmp_path / "lab", "tune: {epochs: none}")
    assert not (tmp_path / "lab").exists()


def test_a_folder_without_a_recipe_is_no_workspace(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(WorkspaceError, match=r"holds no micrographia\.yaml.*micrographia init"):
            Workspace(folder)


def test_where_no_folder_was_named_another_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkspaceError, match=r"`micrographia init \.` makes one, or name .* with --lab"):
        Workspace(Path())
    with pytest.raises(WorkspaceError) as caught:
        Workspace(Path("my lab"))
    assert caught.value.remedy == "`micrographia init 'my lab'` makes one"


def test_a_file_is_no_folder_and_stays_as_it_is(tmp_path):
    file = tmp_path / "lab"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(WorkspaceError, match=r"lab is a file: name a folder"):
        Workspace.create(file, "")
    with pytest.raises(WorkspaceError, match=r"below cannot be made a workspace \(Not a directory\): name"):
        Workspace.create(file / "below", "")
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_recipe_that_was_spoiled_is_named(tmp_path):
    Workspace.create(tmp_path, "")
    (tmp_path / RECIPE).write_text("tune: {colour: red}", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"micrographia\.yaml.*tune\.colour"):
        Workspace(tmp_path)


def test_the_catalogue_and_the_objects_lie_in_the_folder(tmp_path):
    with open_workspace(Workspace.create(tmp_path / "lab", "").folder) as workspace:
        assert workspace.catalog.count()["micrographs"] == 0
        identity = workspace.objects.put(b"content")
        assert (workspace.folder / "catalog.sqlite").is_file()
        assert (workspace.folder / "objects" / identity[:2] / identity[2:]).is_file()


def test_the_catalogue_may_lie_elsewhere(tmp_path):
    made = Workspace.create(tmp_path / "lab", f"catalog: sqlite:///{tmp_path / 'team.sqlite'}")
    with open_workspace(made.folder) as workspace:
        assert workspace.catalog.sources() == []
    assert (tmp_path / "team.sqlite").is_file()
    assert names(made.folder) == [RECIPE]


def test_an_odd_folder_name_is_a_folder_name_still(tmp_path):
    with open_workspace(Workspace.create(tmp_path / "50% of #1? & ü", "").folder) as workspace:
        assert workspace.catalog.sources() == []
        workspace.objects.put(b"content")
        assert (workspace.folder / "catalog.sqlite").is_file()
        assert [p for p in (workspace.folder / "objects").rglob("*") if p.is_file()]
    assert names(tmp_path) == ["50% of #1? & ü"]


def test_a_workspace_stays_where_it_was_opened(tmp_path, monkeypatch):
    Workspace.create(tmp_path / "lab", "").close()
    monkeypatch.chdir(tmp_path / "lab")
    workspace = Workspace(Path())
    monkeypatch.chdir(tmp_path)
    assert workspace.folder == tmp_path / "lab"
    assert workspace.catalog.sources() == []
    workspace.close()


def test_each_student_and_each_fold_has_its_folder(tmp_path):
    workspace = Workspace.create(tmp_path, "tune: {name: steel-1}")
    assert workspace.student_folder() == tmp_path / "students" / "steel-1"
    assert workspace.student_folder(0) == tmp_path / "students" / "steel-1-fold0"
    assert workspace.report_folder() == tmp_path / "reports" / "steel-1"
    assert workspace.report_folder(3) == tmp_path / "reports" / "steel-1-fold3"


def test_workers_are_those_of_the_recipe_or_all_there_are(tmp_path):
    assert Workspace.create(tmp_path / "a", "workers: 3").workers == 3
    assert Workspace.create(tmp_path / "b", "").workers >= 1


def test_a_closed_workspace_holds_no_file(tmp_path):
    with open_workspace(Workspace.create(tmp_path, "").folder) as workspace:
        workspace.catalog.sources()
    assert not [f for f in psutil.Process().open_files() if f.path.startswith(str(tmp_path))]
    Workspace(tmp_path).close()  # nothing was opened, so nothing is made
