"""What every verb promises: help that teaches, errors in one line, exit statuses that mean something."""

import json
import logging
import shutil
import warnings

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from micrographia import phantoms
from micrographia.cli import Verbs, app
from micrographia.errors import PlanError, RecipeError, WorkLeftOut
from tests.students.languages import language_model


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def failing(error):
    broken = typer.Typer(cls=Verbs)
    broken.callback()(lambda: None)

    @broken.command()
    def verb():
        raise error

    return CliRunner().invoke(broken, ["verb"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WorkLeftOut("2 of 9 files could not be read", "`micrographia status` lists them"), 1),
        (PlanError("the batch is [larger] than the data", "make it smaller"), 1),
        (RecipeError("split.folds is 1", "a k-fold split needs at least 2 folds"), 2),
    ],
)
def test_what_can_be_mended_is_said_in_one_line(error, status):
    done = failing(error)
    assert done.exit_code == status
    assert done.stderr == f"error: {error}\n"
    assert done.stdout == ""


def test_an_interrupt_says_that_the_next_run_goes_on():
    done = failing(KeyboardInterrupt())
    assert done.exit_code == 130
    assert "goes on" in done.stderr


def test_a_fault_of_ours_keeps_its_traceback():
    done = failing(ZeroDivisionError())
    assert isinstance(done.exception, ZeroDivisionError)


def test_every_verb_has_help_with_an_example():
    for verb in typer.main.get_command(app).commands:
        done = run(verb, "--help")
        assert done.exit_code == 0
        assert f"Example: micrographia {verb}" in done.stdout


def test_an_unknown_option_is_a_usage_error():
    assert run("status", "--no-such-option").exit_code == 2


def test_init_writes_a_recipe_that_can_be_edited(tmp_path):
    lab = tmp_path / "lab"
    assert run("init", lab, "--recipe", "mvaema").exit_code == 0
    text = (lab / "micrographia.yaml").read_text(encoding="utf-8")
    assert text.startswith("#") and "recipe: mvaema" in text
    assert [file.name for file in lab.iterdir()] == ["micrographia.yaml"]


def test_init_leaves_a_workspace_as_it_is(tmp_path):
    run("init", tmp_path)
    (tmp_path / "micrographia.yaml").write_text("# mine\n", encoding="utf-8")
    done = run("init", tmp_path)
    assert done.exit_code == 1 and "is a workspace already" in done.stderr
    assert (tmp_path / "micrographia.yaml").read_text(encoding="utf-8") == "# mine\n"


def test_init_names_the_recipes_there_are(tmp_path):
    done = run("init", tmp_path / "lab", "--recipe", "mine")
    assert done.exit_code == 2
    assert "mvaema" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_what_libraries_tell_their_developers_is_not_told_to_users(tmp_path, caplog):
    model, notes = language_model("llama"), logging.getLogger("transformers.trainer_utils")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run("status", "--lab", tmp_path)
        assert not model.is_gradient_checkpointing
        warnings.warn("another", FutureWarning, stacklevel=1)
    assert [str(warning.message) for warning in warned] == ["another"]
    logging.getLogger("transformers").addHandler(caplog.handler)
    for note in ("mtime may not be reliable on this filesystem", "another"):
        notes.warning(note)
    logging.getLogger("transformers").removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"another"}


def test_status_of_a_folder_that_is_no_workspace(tmp_path):
    done = run("status", "--lab", tmp_path)
    assert done.exit_code == 1
    assert "micrographia init" in done.stderr


def test_status_of_a_new_workspace(tmp_path):
    run("init", tmp_path)
    done = run("status", "--lab", tmp_path, "--json")
    assert done.exit_code == 0
    state = json.loads(done.stdout)
    assert state["ingest"] == {
        "done": 0,
        "missing": 0,
        "files": {"taken": 0, "refused": 0, "skipped": 0, "gone": 0},
        "folds": 0,
        "parts": {},
        "left_out": [],
        "notes": [],
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One drawn micrograph of each category, their table, and a file that is no image."""
    folder = tmp_path_factory.mktemp("drawn")
    phantoms.write(folder, 1, size=(128, 128), databars=False)
    (folder / "Fibres" / "torn.png").write_bytes(b"not [an] image")
    return folder


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, drawn):
    """A workspace with those, and what `ingest` said."""
    lab = tmp_path_factory.mktemp("lab")
    run("init", lab, "--recipe", "mvaema")
    return lab, run("ingest", drawn, "--table", drawn / "labels.csv", "--lab", lab)


def test_ingest_takes_what_it_can_and_says_what_it_could_not(ingested):
    _, done = ingested
    assert done.exit_code == 1
    assert "micrographs in the workspace: 10" in done.stderr
    assert "files taken: 10" in done.stderr and "files not an image: 1" in done.stderr
    assert "torn.png" in done.stderr.splitlines()[-1] and done.stderr.splitlines()[-1].startswith("error:")
    assert done.stdout == ""


def test_ingest_again_prints_one_object_for_a_script(ingested, drawn):
    lab, _ = ingested
    done = run("ingest", drawn, "--table", drawn / "labels.csv", "--lab", lab, "--json", "--quiet")
    summary = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (summary["taken"], summary["unchanged"], summary["micrographs"]) == (0, 10, 10)
    assert [file["path"] for file in summary["refused"]] == [str(drawn / "Fibres" / "torn.png")]


def test_status_counts_what_is_missing_and_lists_what_was_left_out(ingested, drawn):
    lab, _ = ingested
    state = json.loads(run("status", "--lab", lab, "--json").stdout)
    assert state["measure"]["missing"] == state["teach"]["missing"] == 10
    assert sum(sum(labels.values()) for labels in state["ingest"]["parts"].values()) == 10
    done = run("status", "--lab", lab)
    assert done.exit_code == 0
    assert "torn.png" in done.stdout.replace("\n", "")


def test_measure_and_teach_do_what_is_missing_once(ingested):
    lab, _ = ingested
    assert "micrographs measured: 10" in run("measure", "--lab", lab).stderr
    assert "micrographs taught: 10" in run("teach", "--lab", lab).stderr
    assert "micrographs taught: 0" in run("teach", "--lab", lab).stderr
    state = json.loads(run("status", "--lab", lab, "--json").stdout)
    assert state["teach"]["missing"] == 0 and state["teach"]["conversations"] > 10


def test_a_table_alone_is_no_work(ingested, drawn):
    lab, _ = ingested
    done = run("run", "--table", drawn / "labels.csv", "--lab", lab)
    assert done.exit_code == 2 and "name their folder too" in " ".join(done.stderr.split())


def test_what_is_listed_is_named(ingested, drawn, tmp_path):
    lab, _ = ingested
    table = tmp_path / "more.csv"
    table.write_text("file,label,colour\nnowhere.png,Tips,red\n", encoding="utf-8")
    done = run("ingest", drawn / "Tips", "--table", table, "--lab", lab)
    assert "rows of the table that name no file: 1 (nowhere.png)" in done.stderr
    assert "columns of the table that are not known: 1 (colour)" in done.stderr


def test_status_tells_notes_and_a_student_that_cannot_be_read(ingested, tmp_path):
    lab, _ = ingested
    pages = [Image.fromarray(phantoms.draw("Tips", seed, (96, 96)).image) for seed in (7, 8)]
    (tmp_path / "Tips").mkdir()
    pages[0].save(tmp_path / "Tips" / "stack.tif", save_all=True, append_images=pages[1:])
    run("ingest", tmp_path / "Tips", "--lab", lab)
    (lab / "students" / "assistant").mkdir(parents=True)
    (lab / "students" / "assistant" / "card.json").write_text("{}")
    state = json.loads(run("status", "--lab", lab, "--json").stdout)
    assert [note["image"] for note in state["ingest"]["notes"]] == ["stack.tif"]
    assert state["tune"]["missing"] == 1 and "tune again" in state["tune"]["left_out"][0]["reason"]
    shown = run("status", "--lab", lab).stdout
    assert "pages" in shown and "card.json" in shown
    shutil.rmtree(lab / "students" / "assistant")


def test_what_cannot_be_is_refused_with_a_way_out(tmp_path):
    lab, empty = tmp_path / "lab", tmp_path / "empty"
    run("init", lab)
    empty.mkdir()
    itself = run("ingest", lab, "--lab", lab)
    assert itself.exit_code == 2 and "is the workspace itself" in itself.stderr
    nothing = run("ingest", empty, "--lab", lab)
    assert nothing.exit_code == 1 and "no image was found" in nothing.stderr
    for verb in ("measure", "teach"):
        done = run(verb, "--lab", lab)
        assert done.exit_code == 1 and "holds no micrographs" in done.stderr


def test_quiet_says_nothing(ingested):
    lab, _ = ingested
    done = run("measure", "--lab", lab, "--quiet")
    assert (done.stdout, done.stderr) == ("", "")


def test_teach_lists_its_question_sets():
    done = run("teach", "--list")
    assert done.exit_code == 0
    assert "nanomaterials" in done.stdout


def test_a_missing_folder_is_named(tmp_path):
    run("init", tmp_path / "lab")
    done = run("ingest", tmp_path / "nowhere", "--lab", tmp_path / "lab")
    assert done.exit_code == 2 and "nowhere" in done.stderr


@pytest.mark.parametrize(
    ("field", "section"),
    [
        ("tune.start_from", "family: hub, start_from: nowhere"),
        ("tune.vision_encoder", "family: maemi, vision_encoder: nowhere"),
        ("tune.language_model.folder", "family: llava, language_model: {folder: nowhere}"),
    ],
)
def test_a_model_that_is_not_there_is_told_before_an_image_is_read(tmp_path, drawn, field, section):
    lab = tmp_path / "lab"
    run("init", lab)
    (lab / "micrographia.yaml").write_text(f"tune: {{{section}}}\n", encoding="utf-8")
    for words in (["run", drawn], ["tune"]):
        done = run(*words, "--lab", lab)
        assert done.exit_code == 1
        problem = f"{field} is 'nowhere': there is no config.json in {lab / 'nowhere'}"
        assert done.stderr == f"error: {problem}: name a model's folder\n"
