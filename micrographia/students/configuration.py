"""What shapes a student of ours, apart from the model: reading a configuration builds nothing."""

from __future__ import annotations

from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from micrographia.errors import StudentError
from micrographia.students.image_statistics import BANDS

STEM = 16
"""Pixels along each side that the convolutional stem makes one cell of."""

SMALLEST_SIDE = 64
"""Pixels along each side, so that the coarsest octave of the statistics still has a direction."""


class VisionConfig(PreTrainedConfig):
    """What shapes a vision encoder, and what it finds in an image.

    ``kind`` says how a square of ``patch_size`` pixels becomes a grid cell: ``"convolutional"`` by 3x3
    convolutions that see beyond it, ``"paper"`` by one linear map of its pixels, as published.
    ``key_size`` is the width of query, key and value in each head; ``window`` the side, in grid cells, of
    the square within which the local layers attend. ``labels`` maps each label set to its values; the
    sets are kept in alphabetical order, which is the column order of every tensor of labels. ``cuts`` maps
    those sets whose values are levels of an amount to the cuts between the levels, one fewer than values.
    """

    model_type = "micrographia_vision"

    kind: str = "convolutional"
    image_size: int = 128
    channels: int = 1
    patch_size: int = 16
    hidden_size: int = 96
    heads: int = 4
    key_size: int = 24
    window: int = 4
    local_layers: int = 1
    global_layers: int = 2
    dropout: float | int = 0.0
    label_smoothing: float | int = 0.1
    labels: dict[str, list[str]] | None = None
    cuts: dict[str, list[float]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.labels = dict(sorted((self.labels or {}).items()))
        self.cuts = dict(sorted((self.cuts or {}).items()))
        super().__post_init__(**kwargs)
        for name, cuts in self.cuts.items():
            if len(self.labels.get(name, [])) != len(cuts) + 1:
                raise StudentError(
                    f"cuts of {name!r} are {cuts}, its labels {self.labels.get(name)}",
                    "give one level more than cuts",
                )
        if self.kind not in ("convolutional", "paper"):
            raise StudentError(f"vision kind is {self.kind!r}", "use 'convolutional' or 'paper'")
        if self.kind == "convolutional" and self.patch_size != STEM:
            raise StudentError(f"patch_size is {self.patch_size}", f"the convolutional stem makes {STEM}")
        if self.image_size % 2**BANDS or self.image_size < SMALLEST_SIDE:
            raise StudentError(
                f"image_size is {self.image_size}",
                f"the statistics take multiples of {2**BANDS} px from {SMALLEST_SIDE} on",
            )
        if self.image_size % (self.patch_size * self.window):
            raise StudentError(
                f"image_size {self.image_size} does not divide into patches of {self.patch_size} px "
                f"and windows of {self.window} cells",
                "choose an image_size that does",
            )

    @classmethod
    def default(cls, **changes: Any) -> VisionConfig:
        """The convolutional encoder at 128 px."""
        return cls(**changes)

    @classmethod
    def paper(cls, **changes: Any) -> VisionConfig:
        """MAEMI's encoder (its appendix A.5 and A.8): 224 px, patch 32, d 64, 4 heads, key/value 32."""
        published = {
            "kind": "paper",
            "image_size": 224,
            "channels": 3,
            "patch_size": 32,
            "hidden_size": 64,
            "heads": 4,
            "key_size": 32,
            "window": 7,  # the whole 7x7 grid: the local phase is all patches, without <cls>
            "local_layers": 2,
            "global_layers": 2,
        }
        return cls(**{**published, **changes})

    @property
    def tokens(self) -> int:
        """How many tokens an image becomes: grid cells, exposure, and one for each label set."""
        return (self.image_size // self.patch_size) ** 2 + 1 + len(self.labels or {})


class MVaEMaConfig(PreTrainedConfig):
    """The sizes of the text stack, the three losses' switches, and the eye's ``VisionConfig``.

    ``key_size`` is the width of query, key and value in each head; ``projection_size`` that of the space
    in which images and texts are compared; ``initial_temperature`` where its learning starts. The ids of the
    special tokens are those that ``train_tokenizer`` gives.

    Losses and attentions that are off are the paper's ablations (its tables 5 and 6). A loss that is off
    leaves the weights that it alone trains as they began; an attention that is off has no weights.
    """

    model_type = "mvaema"

    vision_config: Any = None
    """A ``VisionConfig``; a dictionary of its fields, or None for the default one, is made into it."""
    vocab_size: int = 2000
    hidden_size: int = 128
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    key_size: int = 32
    intermediate_size: int = 256
    max_position_embeddings: int = 256
    projection_size: int = 64
    dropout: float | int = 0.0
    initial_temperature: float = 0.07
    itc: bool = True
    itm: bool = True
    lm: bool = True
    self_attention: bool = True
    """Both ways, in the two encoders of text. Without it no token of theirs sees another, and a text is the
    mean of its tokens, where ``<cls>`` or ``<Encode>`` would know of none."""
    cross_attention: bool = True
    """Of the text to the image. Without it the text stack is blind: answers do not depend on the image, ITM
    learns no more than how many pairs match, and ITC alone still reads the eye."""
    causal_attention: bool = True
    """The decoder's own. Without it the decoder goes through the self-attention of the encoders, and so reads
    the question both ways; an answer's token still sees nothing that comes after it."""
    pad_token_id: int = 0
    eos_token_id: int = 1
    cls_token_id: int = 2
    encode_token_id: int = 3
    bos_token_id: int = 4
    """``<Decode>``, after which the answer begins."""

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.vision_config, VisionConfig):
            self.vision_config = VisionConfig(**(self.vision_config or {}))
        super().__post_init__(**kwargs)
        if not (self.itc or self.itm or self.lm):
            raise StudentError("itc, itm and lm are all off", "switch on at least one of the three losses")
        if not (self.self_attention or self.causal_attention):
            raise StudentError(
                "self_attention and causal_attention are both off: no answer could depend on its question",
                "switch on one of the two",
            )

    @classmethod
    def default(cls, vocab_size: int, **changes: Any) -> MVaEMaConfig:
        """The better eye (convolutional, 128 px, grey) with three layers of text at d 128."""
        return cls(vocab_size=vocab_size, **changes)

    @classmethod
    def paper(cls, vocab_size: int, **changes: Any) -> MVaEMaConfig:
        """As published (papers' "Experimental Setup"): 224 px, patch 32, d 64, 4 heads, key/value 16.

        The paper does not give the number of layers; three are used.
        """
        published = {
            "vision_config": VisionConfig.paper(key_size=16),
            "hidden_size": 64,
            "key_size": 16,
            "intermediate_size": 256,
        }
        return cls(vocab_size=vocab_size, **{**published, **changes})


class MAEMIConfig(PreTrainedConfig):
    """A language model, a vision encoder, and the gated cross-attention between them.

    A block stands before every ``cross_attention_every``-th layer, with heads of ``cross_attention_key_size``
    and a feed-forward ``feed_forward_factor`` times as wide as the language model. ``sees``: a token attends
    to the "last" image before it, or to "all" before it, which comparisons of images need.
    """

    model_type = "maemi"
    sub_configs = dict.fromkeys(("text_config", "vision_config"), PreTrainedConfig)

    text_config: Any = None
    """Of any decoder-only language model; a dictionary of fields, ``model_type`` among them, becomes it."""
    vision_config: Any = None
    """Of any vision encoder with image tokens of one ``hidden_size``; None for ours."""
    cross_attention_every: int = 4
    cross_attention_heads: int = 8
    cross_attention_key_size: int = 64
    feed_forward_factor: int = 4
    sees: str = "all"
    image_token_id: int = 0
    """``<image>``, where an image stands in a text."""
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.text_config = _config(self.text_config, "llama")
        self.vision_config = _config(self.vision_config, VisionConfig.model_type)
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)
        super().__post_init__(**kwargs)
        if self.sees not in ("last", "all"):
            raise StudentError(f"sees is {self.sees!r}", 'use "last" or "all"')


def _config(given: Any, usual: str) -> Any:
    """A configuration as it is, or made from its fields by the model type among them."""
    from transformers import AutoConfig  # at the top it would be half loaded: see ``auto_classes``

    if isinstance(given, PreTrainedConfig):
        return given
    fields = dict(given or {})
    return AutoConfig.for_model(fields.pop("model_type", usual), **fields)
