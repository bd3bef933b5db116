"""A student small enough for tests: the same classes, a few thousand weights."""

import torch

from micrographia.students.configuration import MVaEMaConfig, VisionConfig
from micrographia.students.mvaema import MVaEMaForConditionalGeneration

SIDE = 64
VOCABULARY = 40
EOS, DECODE = 1, 4


def tiny_config(vocab_size=VOCABULARY, **changes):
    eye = VisionConfig(
        image_size=SIDE, patch_size=16, hidden_size=32, key_size=8, window=2, local_layers=1, global_layers=1
    )
    sizes = {
        "vision_config": eye,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "key_size": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 48,
        "projection_size": 16,
    }
    return MVaEMaConfig(vocab_size=vocab_size, **{**sizes, **changes})


def tiny_student(seed=0, **changes):
    """Fresh weights, scaled up so that image and words change the logits visibly; in evaluation mode."""
    torch.manual_seed(seed)
    student = MVaEMaForConditionalGeneration(tiny_config(**changes)).eval()
    with torch.no_grad():
        for parameter in student.text.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return student


def pictures(count, seed=0):
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def words(*shape, seed=0):
    return torch.randint(5, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def questions(count, length=5, seed=0):
    """Random words closed by ``<Decode>``."""
    ids = words(count, length, seed=seed)
    ids[:, -1] = DECODE
    return ids
