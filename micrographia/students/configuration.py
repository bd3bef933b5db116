"""What shapes an MVaEMa student, apart from the model: reading a configuration builds nothing."""

from __future__ import annotations

from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from micrographia.errors import StudentError


class MVaEMaConfig(PreTrainedConfig):
    """The sizes of the text stack, the three losses' switches, and the eye's ``VisionConfig``.

    ``key_size`` is the width of query, key and value in each head; ``projection_size`` that of the space
    in which images and texts are compared; ``initial_temperature`` where its learning starts. The ids of the
    special tokens are those that ``train_tokenizer`` gives.
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
    pad_token_id: int = 0
    eos_token_id: int = 1
    cls_token_id: int = 2
    encode_token_id: int = 3
    bos_token_id: int = 4
    """``<Decode>``, after which the answer begins."""

    def __post_init__(self, **kwargs: Any) -> None:
        # Imported when the first configuration is made: it brings the model classes of transformers,
        # which may be half loaded while this class is being registered (see ``auto_classes``).
        from micrographia.students.vision import VisionConfig

        if not isinstance(self.vision_config, VisionConfig):
            self.vision_config = VisionConfig(**(self.vision_config or {}))
        super().__post_init__(**kwargs)
        if not (self.itc or self.itm or self.lm):
            raise StudentError("itc, itm and lm are all off", "switch on at least one of the three losses")

    @classmethod
    def default(cls, vocab_size: int, **changes: Any) -> MVaEMaConfig:
        """The better eye (convolutional, 128 px, grey) with three layers of text at d 128."""
        return cls(vocab_size=vocab_size, **changes)

    @classmethod
    def paper(cls, vocab_size: int, **changes: Any) -> MVaEMaConfig:
        """As published (papers' "Experimental Setup"): 224 px, patch 32, d 64, 4 heads, key/value 16.

        The paper does not give the number of layers; three are used.
        """
        from micrographia.students.vision import VisionConfig

        published = {
            "vision_config": VisionConfig.paper(key_size=16),
            "hidden_size": 64,
            "key_size": 16,
            "intermediate_size": 256,
        }
        return cls(vocab_size=vocab_size, **{**published, **changes})
