import json

import numpy as np
import pytest

from benchmarks import kth_tips, neu, pooled
from benchmarks.pooled import Baseline, Choice, FoldResult, Reply, Taught
from micrographia.evaluate import statistics
from micrographia.evaluate.metrics.text import bleu, score_texts

TAUGHT = Taught(made_from="", minutes=0.5, peak_memory_gib=0.2)
TEXTS = (
    ("fine scratches run from left to right", "fine scratches run from left to right"),
    ("pits of even size cover the surface", "pits of even size cover the whole surface"),
)


def reply(text, group, facts, blind, task="vqa"):
    found = score_texts([text[0]], [[text[1]]])
    row, rouge_l = tuple(found.bleu[0].tolist()), float(found.rouge_l[0])
    return Reply(task=task, label="", group=group, bleu=row, rouge_l=rouge_l, facts=facts, blind_facts=blind)


def result(number, rights, replies=(), division="blocks", minutes=2.0):
    """A fold of two runs of nine, ``rights`` given as a pair of booleans for each run."""
    choices = [
        Choice(label=f"class {run}", group=f"{number} {run}", right=right)
        for run, pair in enumerate(rights)
        for right in pair
    ]
    baselines = {
        pooled.NEAREST: Baseline(right=1 + number, asked=4),
        pooled.MAJORITY: Baseline(right=1, asked=4),
    }
    return FoldResult(
        division=division,
        number=number,
        made_from="",
        images={"test": 4},
        minutes=minutes,
        peak_memory_gib=1 + number,
        threads=2,
        baselines=baselines,
        choices=choices,
        replies=tuple(replies),
    )


def two_folds():
    return [
        result(0, [(True, True), (True, False)], [reply(TEXTS[0], "0 0", (1, 1), (0, 1))], minutes=2),
        result(1, [(True, True), (True, True)], [reply(TEXTS[1], "1 0", (2, 3), (1, 3))], minutes=4),
    ]


def test_top1_is_pooled_over_images_and_clustered_by_group():
    figures = pooled.division_figures("blocks", two_folds())
    rights = [True, True, True, False, True, True, True, True]
    expected = statistics.proportion(rights, [g for g in ("0 0", "0 1", "1 0", "1 1") for _ in range(2)])
    assert figures["top1_blocks"] == 7 / 8
    assert figures["top1_blocks_low"] == round(expected.low, 4)
    assert figures["top1_blocks_high"] == round(expected.high, 4)
    assert (figures["nearest_neighbour_blocks"], figures["majority_blocks"]) == (3 / 8, 2 / 8)
    assert (figures["images_blocks"], figures["folds_blocks"]) == (8, 2)


def test_one_cluster_in_two_folds_is_one_group():
    apart = two_folds()
    same = [
        fold.model_copy(update={"choices": [c.model_copy(update={"group": "all"}) for c in fold.choices]})
        for fold in apart
    ]
    wide, narrow = (pooled.division_figures("blocks", results) for results in (same, apart))
    assert wide["top1_blocks"] == narrow["top1_blocks"]
    assert wide["top1_blocks_low"] < narrow["top1_blocks_low"]


def test_bleu_is_of_all_answers_together():
    figures = pooled.text_figures("blocks", "vqa", two_folds())
    rows = np.concatenate([score_texts([answer], [[truth]]).bleu for answer, truth in TEXTS])
    together, averaged = bleu(rows.sum(axis=0), 4), np.mean([bleu(row, 4) for row in rows])
    assert figures["bleu4"] == pytest.approx(float(together), abs=1e-4)
    assert abs(float(together) - averaged) > 0.001
    assert figures["answers"] == 2


def test_facts_are_counted_one_by_one_and_blindness_on_the_same_ones():
    figures = pooled.text_figures("blocks", "vqa", two_folds())
    assert (figures["fact_accuracy"], figures["blind_fact_accuracy"]) == (3 / 4, 1 / 4)
    assert figures["blind_difference"] == 1 / 2
    assert -1 <= figures["blind_difference_low"] <= 1 / 2 <= figures["blind_difference_high"] <= 1


def test_answers_without_facts_do_not_narrow_the_difference():
    facts = pooled.text_figures("blocks", "vqa", two_folds())
    limits = result(2, [(True, True)], [reply(TEXTS[0], f"2 {i}", (0, 0), (0, 0)) for i in range(40)])
    both = pooled.text_figures("blocks", "vqa", [*two_folds(), limits])
    for name in ("fact_accuracy", "blind_difference", "blind_difference_low", "blind_difference_high"):
        assert both[name] == facts[name]
    alone = pooled.text_figures("blocks", "vqa", [limits])
    assert alone["bleu4"] == 1 and "fact_accuracy" not in alone


def test_captions_have_keys_of_their_own():
    caption = reply(TEXTS[0], "0 0", (0, 2), (0, 2), task="caption")
    fold = two_folds()[0]
    fold = fold.model_copy(update={"replies": (*fold.replies, caption)})
    figures = neu.figures([fold], TAUGHT)
    assert (figures["fact_accuracy"], figures["fact_accuracy_captions"]) == (1, 0)


def test_minutes_are_those_of_one_division_and_memory_of_all():
    others = [result(4, [(True, True)], division="random", minutes=60)]
    figures = pooled.cost_figures("blocks", two_folds() + others, TAUGHT)
    assert (figures["minutes_per_fold"], figures["minutes_per_fold_max"]) == (3, 4)
    assert (figures["minutes_ingest_teach"], figures["peak_memory_gib"], figures["threads"]) == (0.5, 5, 2)


def test_divisions_do_not_mix():
    random = result(0, [(False, False)], division="look-alikes")
    figures = neu.figures([*two_folds(), random], TAUGHT)
    assert (figures["top1_blocks"], figures["top1_look_alikes"]) == (7 / 8, 0)
    assert not any("random" in name for name in figures)


def test_textures_are_clustered_by_class():
    folds = [result(k, [(True, True), (True, k == 0)], division="random") for k in range(2)]
    figures = kth_tips.figures(folds, TAUGHT)
    classes = ["class 0", "class 0", "class 1", "class 1"] * 2
    expected = statistics.proportion([True] * 7 + [False], classes)
    assert figures["top1_random_low"] == round(expected.low, 4)


def test_the_figures_are_one_flat_object():
    figures = neu.figures(two_folds(), TAUGHT)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert all(isinstance(value, (int, float, str)) for value in figures.values())
    for name in ("top1_blocks", "bleu4", "rouge_l", "fact_accuracy", "blind_difference"):
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
