"""What `evaluate` prints: every figure with its interval and what it was taken over."""

import json
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from micrographia.cli import app
from micrographia.cli.evaluate import as_dict, score_table
from micrographia.evaluate.run import Evaluation
from micrographia.records import Score


def score(metric, system, value, **more):
    return Score(
        task="vqa",
        metric=metric,
        system=system,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        n=9,
        groups=3,
    ).model_copy(update=more)


SCORES = (
    score("BLEU-4 [word]", "student", 0.5, unscored=2),
    score("BLEU-4 [word]", "blind student", 0.25),
    score("METEOR", "student", 0.75),
)


def test_the_table_shows_interval_counts_and_what_is_missing():
    console = Console(width=160)
    with console.capture() as captured:
        console.print(score_table(SCORES))
    lines = captured.get().splitlines()
    bleu = next(line for line in lines if "BLEU-4 [word]" in line)
    assert "0.500 [0.400, 0.600]" in bleu and "0.250 [0.150, 0.350]" in bleu
    assert "n=9, 3 groups, 2 unscored" in lines[lines.index(bleu) + 1]
    assert "–" in next(line for line in lines if "METEOR" in line)


def test_a_script_gets_every_score():
    made = as_dict(Evaluation(SCORES, Path("report.html"), Path("scores.json")))
    assert json.loads(json.dumps(made))["scores"][0]["unscored"] == 2
    assert made["report"] == "report.html"


def test_run_in_an_empty_workspace_says_what_to_do(tmp_path):
    CliRunner().invoke(app, ["init", str(tmp_path)])
    done = CliRunner().invoke(app, ["run", "--lab", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no micrographs" in done.stderr and "micrographia ingest" in done.stderr


def test_evaluate_without_a_student_says_what_to_do(tmp_path):
    CliRunner().invoke(app, ["init", str(tmp_path)])
    done = CliRunner().invoke(app, ["evaluate", "--lab", str(tmp_path)])
    assert done.exit_code == 1
    assert "micrographia tune" in done.stderr
