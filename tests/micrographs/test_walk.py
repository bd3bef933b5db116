"""Which files are met, in which order, and that nothing outside is."""

import os
import unicodedata
from pathlib import Path

import pytest

from micrographia.errors import RecipeError
from micrographia.micrographs.walk import find_files, readable


@pytest.fixture
def lab(tmp_path):
    for name in (
        "lab/b/2.png",
        "lab/b/10.png",
        "lab/a/deep/1.png",
        "lab/0.png",
        "lab/.git/x.png",
        "outside/o.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "lab" / ".DS_Store").touch()
    return tmp_path / "lab"


def names(found, lab):
    return [file.path.relative_to(lab).as_posix() for file in found]


def test_the_order_is_fixed_and_hidden_folders_are_passed_over(lab):
    found = find_files([lab])
    assert names(found, lab) == [".DS_Store", "0.png", "a/deep/1.png", "b/10.png", "b/2.png"]
    assert [file.excuse for file in found] == ["hidden", None, None, None, None]


def test_the_folder_of_a_file(lab):
    folders = {file.path.name: file.folder for file in find_files([lab])}
    assert folders["0.png"] is None
    assert folders["1.png"] == "deep"
    assert folders["2.png"] == "b"


def test_a_file_is_met_once_and_left_out_folders_not_at_all(lab):
    assert names(find_files([lab / "b", lab, lab / "b" / "2.png"]), lab)[:2] == ["b/10.png", "b/2.png"]
    assert len(find_files([lab / "b", lab, lab / "b" / "2.png"])) == 5
    assert "b/2.png" not in names(find_files([lab], leave_out=[lab / "b"]), lab)


def test_a_path_that_is_not_there(lab):
    with pytest.raises(RecipeError, match="nowhere"):
        find_files([lab, lab / "nowhere"])


def test_links_are_not_followed_out(lab):
    (lab / "inside.png").symlink_to(lab / "0.png")
    (lab / "out.png").symlink_to(lab.parent / "outside" / "o.png")
    (lab / "outdir").symlink_to(lab.parent / "outside")
    (lab / "loop").symlink_to(lab)
    (lab / "broken.png").symlink_to(lab / "none.png")
    found = find_files([lab])
    excuses = {file.path.name: file.excuse for file in found}
    assert excuses["inside.png"] is None
    assert excuses["out.png"] == excuses["outdir"] == "a link that leads out of the folder"
    assert excuses["loop"] == "a link to a folder"
    assert {file.path.name for file in found if file.fault} == {"broken.png"}
    assert "o.png" not in excuses


def test_a_folder_that_may_be_listed_and_not_entered(lab, monkeypatch):
    """As mode 0444 is for anyone but root."""
    stat = os.stat

    def refuse(path, **how):
        if Path(path).parent == lab / "b":
            raise PermissionError(13, "Permission denied")
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", refuse)
    faults = {file.path.name: file.fault for file in find_files([lab])}
    assert faults["2.png"] == faults["10.png"] == "cannot be reached (Permission denied)"
    assert faults["0.png"] is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_opened(lab):
    os.mkfifo(lab / "pipe.png")
    assert {f.path.name: f.excuse for f in find_files([lab])}["pipe.png"] == "not a regular file"


def test_a_folder_has_one_name_however_the_disk_composes_it(lab):
    for form in ("NFC", "NFD"):
        folder = lab / unicodedata.normalize(form, "Übersicht")
        folder.mkdir()
        (folder / f"{form}.png").touch()
    folders = {f.path.name: f.folder for f in find_files([lab])}
    assert folders["NFC.png"] == folders["NFD.png"] == unicodedata.normalize("NFC", "Übersicht")


def test_names_that_are_no_utf8_are_readable(lab):
    (lab / os.fsdecode(b"caf\xe9.png")).touch()
    (file,) = [f for f in find_files([lab]) if "caf" in f.text]
    assert file.text.endswith("caf\\xe9.png")
    assert readable("Größe.png") == "Größe.png"
