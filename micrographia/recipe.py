"""One YAML file says what to do: checked as a whole before any work, and saved beside everything it made."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from micrographia.errors import RecipeError

FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """A part of the recipe: frozen, and a word it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IngestSection(Section):
    """Which images belong together, beyond what folders and tables say."""

    group_pattern: str | None = None
    """Regular expression with one capture group, searched in the file name; what it captures is the group
    (specimen, series) of the image. Example: "^(specimen[0-9]+)_"."""

    @field_validator("group_pattern")
    @classmethod
    def _one_capture_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if groups != 1:
            raise ValueError(f"needs exactly one capture group, has {groups}")
        return pattern


class SplitSection(Section):
    """How images are divided into train, validation and test: by group, stratified by class."""

    seed: int = 0
    """Another seed or share divides anew, with the next `ingest` or `run`."""
    test: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of the images kept for the test. Not used where folds are asked for."""
    validation: float = Field(default=0.1, gt=0, lt=0.9)
    """Share of the images that are not test, kept to choose the best checkpoint."""
    folds: int | None = Field(default=None, ge=2, le=50)
    """For cross-validation: every group is in the test part of exactly one of so many folds."""
    bind_look_alikes: bool = True
    """Near duplicates and overlapping fields stay on one side. false only repeats a published random split,
    which look-alikes flatter."""


class TeachSection(Section):
    """Who writes the questions and answers, and which."""

    teacher: Literal["measured"] = "measured"
    """measured: answers written from labels, headers and measurements; nothing leaves the machine."""
    questions: tuple[str, ...] = Field(default=("nanomaterials", "caption", "category"), min_length=1)
    """Question sets by name; `micrographia teach --list` shows them and the images they fit."""
    seed: int = 0
    """Another seed chooses other wordings."""


class LabelsStage(Section):
    """The first stage of tuning: the image encoder learns classes and facts, without words."""

    epochs: int | None = Field(default=None, ge=0)
    """Passes over the training images; nothing: about as many as make 700 steps; 0 leaves the stage out."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Highest rate; it rises, then falls to nothing along a cosine."""
    batch: int = Field(default=16, ge=2)
    """Images a step."""


class LowRankSection(Section):
    """How a language model is adapted, in maemi, llava and hub."""

    method: Literal["dyqlora_fa", "lora", "rslora", "dora", "qlora", "full", "none"] = "dyqlora_fa"
    """dyqlora_fa: 8-bit weights, A frozen, a rank drawn at each step, so that one run serves every rank;
    lora, rslora, dora: PEFT's; qlora: lora beside 4-bit weights, of a language model that is given, on a CUDA
    device; full: no adapter, all weights but the eye's learn, of llava and hub; none: the language model
    stays as it is. A llava whose small language model learns here has full unless another is named."""
    rank: int = Field(default=16, ge=1)
    """The highest rank; of dyqlora_fa the lowest is lowest_rank."""
    lowest_rank: int = Field(default=4, ge=1)
    """Of dyqlora_fa alone, as are rank_weights and update."""
    rank_weights: tuple[float, ...] | None = None
    """How often each rank from the lowest to the highest is drawn, in proportion; nothing: all alike."""
    update: Literal["prefix", "last"] = "prefix"
    """prefix: all columns up to the drawn rank learn; last: only those that this rank has and the next lower
    one has not."""
    alpha: float = Field(default=16, gt=0)
    """What an adapter adds is multiplied by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Probability with which an input of an adapter is left out."""

    @model_validator(mode="after")
    def _a_range(self) -> LowRankSection:
        if self.lowest_rank > self.rank:
            raise ValueError(f"lowest_rank {self.lowest_rank} is above rank {self.rank}")
        return self

    @model_validator(mode="after")
    def _a_weight_for_each_rank(self) -> LowRankSection:
        weights, wanted = self.rank_weights, self.rank - self.lowest_rank + 1
        if weights is not None and (len(weights) != wanted or min(weights) < 0 or sum(weights) <= 0):
            raise ValueError(
                f"rank_weights are {list(weights)}: give {wanted}, one for each rank from {self.lowest_rank} "
                f"to {self.rank}, none negative, one at least above 0"
            )
        return self


class LanguageModelSection(Section):
    """The language model that is given sight: a small one that learns from the lab's own texts, or yours."""

    folder: str | None = None
    """A folder, seen from the workspace, with a language model of transformers, taken as it is."""
    steps: int = Field(default=600, ge=1)
    """Steps of 32 texts, about: all texts are read in whole passes, once at least. Not used with a folder."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Highest rate; it rises, then falls along a cosine. Not used with a folder."""


class ProjectorStage(Section):
    """LLaVA's first stage: the projector learns to bring what the eye sees into the language."""

    epochs: int | None = Field(default=None, ge=0)
    """Passes over the training images; nothing: about as many as make 60 steps; 0 leaves the stage out."""
    learning_rate: float = Field(default=0.03, gt=0)
    """Highest rate; it rises, then falls along a cosine."""


class TuneSection(Section):
    """How the student learns."""

    name: FolderName = "assistant"
    """The student's folder below students/. A student of another recipe that lies there is replaced; another
    name keeps both."""
    family: Literal["mvaema", "maemi", "llava", "hub"] = "mvaema"
    """mvaema: image and text encoders and a decoder, all trained from nothing; maemi: a language model given
    sight by gated cross-attention; llava: one for which a projector makes images part of the text; hub: a
    vision-language model that is there (Qwen3-VL, LLaVA). How the language model of the last three learns
    stands in low_rank."""
    start_from: str | None = None
    """Of hub, and needed there: the model's folder, seen from the workspace."""
    max_pixels: int | None = Field(default=None, ge=28 * 28)
    """Of hub: images of more pixels are scaled down, the aspect kept; nothing: as its processor has it."""
    longest: int | None = Field(default=None, ge=64)
    """Of hub: texts that are longer with their images, in tokens, are left out; nothing: what it reads."""
    setting: Literal["default", "paper"] = "default"
    """default: convolutional stem, local and global attention; paper: patches of 32, width 64, 4 heads."""
    labels: LabelsStage = LabelsStage()
    vision_encoder: str | None = None
    """A folder, seen from the workspace, with a vision encoder of transformers (CLIP, SigLIP, DINOv3), taken
    as it is by maemi and llava; nothing: our own, which learns labels."""
    language_model: LanguageModelSection = LanguageModelSection()
    projector: ProjectorStage = ProjectorStage()
    low_rank: LowRankSection = Field(default=LowRankSection(), validate_default=True)
    sees: Literal["all", "last"] = "all"
    """Of maemi: whether a word sees all images that stand before it, or the last of them alone, as in
    Flamingo."""
    demonstrations: int = Field(default=0, ge=0, le=16)
    """Labelled training images, the most similar ones, that stand before half of the questions for the
    category in maemi, llava and hub; with them it is examined on showing examples too."""
    too_large: Literal["refuse", "accumulate"] = "refuse"
    """What becomes of a step that memory does not hold. refuse: tuning says what would fit; accumulate: a
    step of maemi, llava or hub is taken in as many parts as it needs, with the same images."""
    gradient_checkpointing: bool = False
    """Of maemi, llava and hub: each layer keeps its input alone, and runs once more for its backward pass.
    Less memory, more time, the same student."""
    views: Literal[1, 4, 8] = 8
    """Ways to lay an image down while words are learned: 1 as it is, 4 turned, 8 turned and mirrored."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training images with questions and answers; nothing: about as many as make 360."""
    batch: int = Field(default=16, ge=2)
    """Images a step."""
    texts_per_image: int = Field(default=8, ge=1)
    """Question-answer pairs drawn for each image at each step, at most; where they are fewer than its kinds
    (category, caption, question), these take turns. It is encoded once for all of them, in hub for each."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Highest rate; it falls along a cosine, and is halved when the validation loss stands still. Nothing:
    0.03 of Muon, 0.02 where a language model of our own learns whole; of AdamW, by which hub learns, 0.0002,
    and 0.00002 for all weights of a model that is given."""
    patience: int = Field(default=3, ge=1)
    """Evaluations without progress after which the rate is halved; after three times as many, tuning ends."""
    contrastive: bool = True
    """Image-text contrastive loss (ITC)."""
    matching: bool = True
    """Image-text matching loss (ITM)."""
    language: bool = True
    """Language-modelling loss on the answers (LM)."""
    self_attention: bool = True
    """Words see each other in the encoders of text (SA). This and the switches beside it, of losses and of
    attention, are the ablations of mvaema, and of mvaema alone."""
    cross_attention: bool = True
    """Words see the image (CA). false: its answers are blind."""
    causal_attention: bool = True
    """The decoder has a self-attention of its own, causal all over (CSA). false: it has that of the encoders,
    and reads the question both ways."""
    seed: int = 0
    """Of initial weights, order and views."""

    @field_validator("low_rank")
    @classmethod
    def _small_ones_learn_whole(cls, low_rank: LowRankSection, others: ValidationInfo) -> LowRankSection:
        """Written into the recipe, so that a student's card and fingerprint tell it."""
        speaker = others.data.get("language_model")
        own = others.data.get("family") == "llava" and speaker is not None and speaker.folder is None
        if own and "method" not in low_rank.model_fields_set:
            return low_rank.model_copy(update={"method": "full"})
        return low_rank

    @model_validator(mode="after")
    def _four_bits_pay(self) -> TuneSection:
        own = self.family in ("maemi", "llava") and not self._given
        if own and self.low_rank.method == "qlora":
            raise ValueError(
                "low_rank.method is qlora, which saves nothing on a small language model that learns here; "
                "name language_model.folder, or leave the method out"
            )
        return self

    @model_validator(mode="after")
    def _answers_know_their_question(self) -> TuneSection:
        if not (self.self_attention or self.causal_attention):
            raise ValueError("self_attention and causal_attention are both false; one of them must be true")
        return self

    @model_validator(mode="after")
    def _starts_somewhere(self) -> TuneSection:
        if (self.family == "hub") != (self.start_from is not None):
            raise ValueError(
                f"family is {self.family} and start_from is {self.start_from!r}: hub needs the folder of a "
                "model to start from, and the other families start from none"
            )
        if self.family == "maemi" and self.low_rank.method == "full":
            raise ValueError(
                "low_rank.method is full, and what gives MAEMI sight learns from nothing beside a frozen "
                "language model: choose llava, or another method"
            )
        if self.family == "hub" and self.low_rank.method == "none":
            raise ValueError("low_rank.method is none, and of a model of the hub nothing else learns")
        return self

    @model_validator(mode="after")
    def _fields_of_its_family(self) -> TuneSection:
        given = {
            "demonstrations": (self.demonstrations, ("maemi", "llava", "hub")),
            "vision_encoder": (self.vision_encoder, ("maemi", "llava")),
            "language_model.folder": (self.language_model.folder, ("maemi", "llava")),
            "max_pixels": (self.max_pixels, ("hub",)),
            "longest": (self.longest, ("hub",)),
            "gradient_checkpointing": (self.gradient_checkpointing, ("maemi", "llava", "hub")),
            "sees": ("last" if self.sees == "last" else None, ("maemi",)),
        }
        for name, (value, families) in given.items():
            if value and self.family not in families:
                raise ValueError(
                    f"family is {self.family} and {name} is {value!r}, which is of "
                    f"{', '.join(families)} alone: leave it out, or choose such a family"
                )
        return self

    @property
    def rate(self) -> float:
        """The learning rate of the last stage; 2e-5 is LLaVA's for all weights of a model that is given."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self._whole:
            return 2e-5 if self._given else 0.02
        return 2e-4 if self.family == "hub" else 0.03

    @property
    def optimizer(self) -> Literal["muon", "adamw"]:
        """Of the last stage: muon where much learns from nothing, adamw where learned weights change."""
        return "adamw" if self.family == "hub" or (self._whole and self._given) else "muon"

    @property
    def _whole(self) -> bool:
        return self.family in ("llava", "hub") and self.low_rank.method == "full"

    @property
    def _given(self) -> bool:
        return self.family == "hub" or self.language_model.folder is not None


class EvaluateSection(Section):
    """What is asked of the student in the test."""

    questions_per_image: int = Field(default=12, ge=1)
    """Questions drawn for each test image (by split.seed), beside its category and its caption."""


class Recipe(Section):
    """Everything a run does. Fields left out take the values that stand in ``recipes/mvaema.yaml``."""

    recipe: str = "mvaema"
    """The published system or starting point that this recipe follows."""
    ingest: IngestSection = IngestSection()
    split: SplitSection = SplitSection()
    teach: TeachSection = TeachSection()
    tune: TuneSection = TuneSection()
    evaluate: EvaluateSection = EvaluateSection()
    catalog: str | None = None
    """Address of a database for a team (SQLAlchemy URL); nothing: catalog.sqlite in the workspace."""
    workers: int | None = Field(default=None, ge=1)
    """Local processes for reading and measuring; nothing: as many as there are processors."""


def parse(text: str, origin: str) -> Recipe:
    """The recipe in ``text``; ``origin`` names it in errors. Raises RecipeError naming every wrong field."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{origin} is not YAML", _yaml_problem(error)) from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise RecipeError(f"{origin} holds {type(content).__name__}", "a recipe is fields and values")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{origin} has wrong fields", _explain(error)) from None


def load(path: Path) -> Recipe:
    """The recipe in the file. Raises RecipeError where it is missing or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read", str(error)) from None
    return parse(text, str(path))


def shipped() -> tuple[str, ...]:
    """Names of the recipes that come with Micrographia."""
    folder = resources.files("micrographia.recipes")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def shipped_text(name: str) -> str:
    """The text, comments and all, of a recipe that comes with Micrographia. Raises RecipeError."""
    if name not in shipped():
        raise RecipeError(f"there is no recipe {name!r}", f"choose one of {', '.join(shipped())}")
    return (resources.files("micrographia.recipes") / f"{name}.yaml").read_text(encoding="utf-8")


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).partition("\n")[0]  # the second line says where in "<unicode string>"


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{field} is not a field of the recipe{_nearest(problem['loc'])}")
        else:
            value = "" if isinstance(problem["input"], dict) else f" is {problem['input']!r}"
            lines.append(f"{field}{value}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _nearest(place: tuple[int | str, ...]) -> str:
    """The known field of the same section that looks most like the unknown one, as a question."""
    *sections, unknown = map(str, place)
    section = reduce(getattr, sections, Recipe())
    near = get_close_matches(unknown, type(section).model_fields, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
