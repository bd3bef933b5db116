"""The recipe is checked as a whole, and an error names the field and the value."""

import re

import pytest
import yaml
from pydantic import ValidationError

from micrographia.errors import RecipeError
from micrographia.recipe import Recipe, load, parse, shipped, shipped_text


def test_there_are_recipes_to_start_from():
    assert {"mvaema", "maemi"} <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_valid_and_says_who_it_is(name):
    assert parse(shipped_text(name), name).recipe == name


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_shows_the_name_of_its_student(name):
    assert yaml.safe_load(shipped_text(name))["tune"]["name"] == Recipe().tune.name


@pytest.mark.parametrize(
    ("name", "method"), [("maemi", "dyqlora_fa"), ("hub", "dyqlora_fa"), ("llava", "full")]
)
def test_a_shipped_recipe_has_the_method_of_its_family(name, method):
    assert parse(shipped_text(name), name).tune.low_rank.method == method


def test_the_shipped_recipe_of_llava_adapts_a_language_model_that_is_given():
    text = shipped_text("llava").replace("folder: null", "folder: llama")
    assert parse(text, "llava").tune.low_rank.method == "dyqlora_fa"


def test_the_lines_that_the_shipped_recipe_of_llava_shows_as_a_comment_may_be_used():
    text = re.sub("^  # ( *)(low_rank|method|rank):", r"  \1\2:", shipped_text("llava"), flags=re.MULTILINE)
    assert parse(text, "llava").tune.low_rank.method == "lora"


@pytest.mark.parametrize(
    ("fields", "method", "optimizer", "rate"),
    [
        ("family: llava", "full", "muon", 0.02),
        ("family: llava, low_rank: {dropout: 0}", "full", "muon", 0.02),
        ("family: llava, language_model: {folder: llama}", "dyqlora_fa", "muon", 0.03),
        ("family: llava, language_model: {folder: llama}, low_rank: {method: full}", "full", "adamw", 2e-5),
        ("family: llava, low_rank: {method: lora}", "lora", "muon", 0.03),
        ("family: maemi", "dyqlora_fa", "muon", 0.03),
        ("family: hub, start_from: qwen", "dyqlora_fa", "adamw", 2e-4),
        ("family: hub, start_from: qwen, low_rank: {method: full}", "full", "adamw", 2e-5),
    ],
)
def test_how_a_language_model_learns_where_the_recipe_leaves_it_open(fields, method, optimizer, rate):
    recipe = parse(f"tune: {{{fields}}}", "micrographia.yaml").tune
    assert (recipe.low_rank.method, recipe.optimizer, recipe.rate) == (method, optimizer, rate)


def test_a_recipe_that_is_not_shipped():
    with pytest.raises(RecipeError, match=r"no recipe '\.\./secrets'.*mvaema"):
        shipped_text("../secrets")


def test_the_values_printed_in_mvaema_are_those_it_takes_without_them():
    assert "what stands here are the values it would take" in shipped_text("mvaema")
    assert parse(shipped_text("mvaema"), "mvaema") == Recipe()


def test_mvaema_prints_every_field():
    def names(section, prefix=""):
        for name, value in section.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{name}.")

    assert set(names(yaml.safe_load(shipped_text("mvaema")))) == set(names(Recipe().model_dump()))


def test_an_empty_recipe_is_the_default_one():
    assert parse("", "x") == parse("# only a comment\n", "x") == Recipe()


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("tune: {epoch: 3}", "tune.epoch", "not a field"),
        ("learning_rate: 3", "learning_rate", "not a field"),
        ("tune: {epochs: 0}", "tune.epochs", "0"),
        ("tune: {epochs: many}", "tune.epochs", "'many'"),
        ("tune: {batch: 1}", "tune.batch", "1"),
        ("tune: {learning_rate: .inf}", "tune.learning_rate", "inf"),
        ("tune: {learning_rate: -0.1}", "tune.learning_rate", "-0.1"),
        ("tune: {labels: {epochs: -1}}", "tune.labels.epochs", "-1"),
        ("tune: {family: blip}", "tune.family", "'blip'"),
        ("tune: {low_rank: {method: adalora}}", "tune.low_rank.method", "'adalora'"),
        ("tune: {name: ../../etc}", "tune.name", "'../../etc'"),
        ("tune: {name: .hidden}", "tune.name", "'.hidden'"),
        ("split: {test: 0}", "split.test", "0"),
        ("split: {test: 1.5}", "split.test", "1.5"),
        ("split: {folds: 1}", "split.folds", "1"),
        ("teach: {questions: []}", "teach.questions", "[]"),
        ("teach: {teacher: oracle}", "teach.teacher", "'oracle'"),
        ("ingest: {group_pattern: '([a-z'}", "ingest.group_pattern", "'([a-z'"),
        ("ingest: {group_pattern: '(a)(b)'}", "ingest.group_pattern", "has 2"),
        ("ingest: {group_pattern: 'ab'}", "ingest.group_pattern", "has 0"),
        ("workers: 0", "workers", "0"),
        ("split: 3", "split", "3"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(text, field, value):
    with pytest.raises(RecipeError) as caught:
        parse(text, "lab.yaml")
    message = str(caught.value)
    assert message.startswith("lab.yaml has wrong fields: ")
    assert f"{field} is " in message
    assert value in message


@pytest.mark.parametrize(
    ("text", "section", "reason"),
    [
        ("tune: {low_rank: {rank: 2}}", "tune.low_rank", "lowest_rank 4 is above rank 2"),
        (
            "tune: {low_rank: {rank: 5, rank_weights: [1]}}",
            "tune.low_rank",
            "rank_weights are [1.0]: give 2,",
        ),
        (
            "tune: {low_rank: {rank: 4, rank_weights: [0]}}",
            "tune.low_rank",
            "rank_weights are [0.0]: give 1,",
        ),
        ("tune: {family: llava, low_rank: {method: qlora}}", "tune", "low_rank.method is qlora, which saves"),
        ("tune: {self_attention: false, causal_attention: false}", "tune", "self_attention and causal_att"),
        ("tune: {family: hub}", "tune", "family is hub and start_from is None: hub needs the folder"),
        ("tune: {name: {a: 1}}", "tune.name", "Input should be a valid string"),
    ],
)
def test_of_fields_that_do_not_go_together_only_the_reason_is_told(text, section, reason):
    with pytest.raises(RecipeError) as caught:
        parse(text, "lab.yaml")
    assert caught.value.remedy.startswith(f"{section}: {reason}")


@pytest.mark.parametrize(
    ("field", "families"),
    [
        ("demonstrations: 4", {"maemi", "llava", "hub"}),
        ("vision_encoder: eye", {"maemi", "llava"}),
        ("language_model: {folder: speaker}", {"maemi", "llava"}),
        ("max_pixels: 1000", {"hub"}),
        ("longest: 64", {"hub"}),
    ],
)
def test_a_field_of_other_families_is_refused(field, families):
    for family in ("mvaema", "maemi", "llava", "hub"):
        start = ", start_from: model" if family == "hub" else ""
        text = f"tune: {{family: {family}{start}, {field}}}"
        if family in families:
            parse(text, "lab.yaml")
        else:
            with pytest.raises(RecipeError, match=rf"tune: family is {family} and .* alone: leave it out"):
                parse(text, "lab.yaml")


def test_all_wrong_fields_are_named_at_once():
    with pytest.raises(RecipeError, match=r"split\.test is 2.*tune\.epochs is 'x'.*colour is not a field"):
        parse("split: {test: 2}\ntune: {epochs: x}\ncolour: red", "lab.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "tune: {learning_rat: 3}",
            "tune.learning_rat is not a field of the recipe (did you mean learning_rate?)",
        ),
        (
            "tune: {labels: {epoch: 2}}",
            "tune.labels.epoch is not a field of the recipe (did you mean epochs?)",
        ),
        ("Split: {}", "Split is not a field of the recipe (did you mean split?)"),
        ("split: {patienc: 2}", "split.patienc is not a field of the recipe"),  # tune has one, split has not
    ],
)
def test_an_unknown_field_gets_the_nearest_one_of_its_section(text, words):
    with pytest.raises(RecipeError) as caught:
        parse(text, "lab.yaml")
    assert caught.value.remedy == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tune:\n  epochs: 3: 4\n", "line 2, column 12: mapping values are not allowed here"),
        (
            "recipe: x\ntune:\n\tepochs: 3",
            "line 3, column 1: found character '\\t' that cannot start any token",
        ),
        ("recipe: \x07", "unacceptable character #x0007: special characters are not allowed"),
    ],
)
def test_what_is_not_yaml_is_told_by_line_and_column(text, words):
    with pytest.raises(RecipeError) as caught:
        parse(text, "lab.yaml")
    assert str(caught.value) == f"lab.yaml is not YAML: {words}"


def test_one_capture_group_is_right():
    pattern = "^(?:old_)?(specimen[0-9]+)_"
    assert parse(yaml.dump({"ingest": {"group_pattern": pattern}}), "x").ingest.group_pattern == pattern


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("tune: [unclosed", "is not YAML"),
        ("- a\n- b", "holds list"),
        ("just words", "holds str"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_what_is_no_recipe_at_all(text, what):
    with pytest.raises(RecipeError, match=what):
        parse(text, "lab.yaml")


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().tune.epochs = 3


def test_a_file_is_loaded_and_a_missing_or_binary_one_is_named(tmp_path):
    path = tmp_path / "lab.yaml"
    with pytest.raises(RecipeError, match=r"lab\.yaml cannot be read"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"lab\.yaml cannot be read"):
        load(path)
    path.write_text("tune: {epochs: 3}", encoding="utf-8")
    assert load(path).tune.epochs == 3


def test_a_recipe_survives_writing_it_down():
    for name in shipped():
        first = parse(shipped_text(name), name)
        assert parse(yaml.dump(first.model_dump(mode="json")), name) == first
