"""Language models of every kind that is tested, with random weights, a few thousand of them."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY, PAD, BEGIN, END, IMAGE_ID = 64, 0, 1, 2, 3
FAMILIES = {
    "llama": {},
    "qwen3": {"head_dim": 8},
    "gemma": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8},
    "smollm3": {},
    "mistral": {"head_dim": 8},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


def language_model(family="llama", seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END}
    config = AutoConfig.for_model(family, **{**sizes, **heads, **ends, **FAMILIES[family], **changes})
    return AutoModelForCausalLM.from_config(config).eval()


def prompts(count=2, length=9, places=((0, 1), (1, 0), (1, 4)), seed=0):
    """Random words, and ``<image>`` at (row, column)."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (count, length), generator=generator)
    for row, column in places:
        ids[row, column] = IMAGE_ID
    return ids
