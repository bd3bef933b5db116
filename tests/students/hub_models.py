"""Two models of the hub, Qwen3-VL and LLaVA, with random weights, and the processors beside them."""

import functools
import json

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from micrographia.students.chat import ChatProcessor, without_video

TEXTS = ["What is shown? Which class is it? Fibres, pores or particles of 12 nm.", "USER: ASSISTANT:"] * 3
QWEN_SIGNS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_PLACES = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]

QWEN_TOOLS = ["<tool_call>", "</tool_call>"]
"""Tokens that are not special, as Qwen has them."""

QWEN_TEMPLATE = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' }}
    {%- for content in messages[0].content %}
        {%- if 'text' in content %}{{- content.text }}{%- endif %}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role in ['user', 'assistant'] %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- for content in message.content %}
            {%- if content.type == 'image' or 'image' in content %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'text' in content %}
                {{- content.text }}
            {%- endif %}
        {%- endfor %}
        {%- for call in message.tool_calls %}{{- '<tool_call>' + call + '</tool_call>' }}{%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""Qwen3-VL's, without videos and most of its tools."""

LLAVA_TEMPLATE = """\
{% for message in messages %}{{ message['role'].upper() + ': ' }}\
{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}\
{% endfor %}\
{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}\
{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""
"""LLaVA 1.5's: images first, a space before the answer, no sign after it."""


@functools.cache
def _qwen_words():
    words = Tokenizer(models.BPE())
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=alphabet,
        special_tokens=QWEN_SIGNS + QWEN_PLACES,
        show_progress=False,
    )
    words.train_from_iterator(TEXTS, trainer)
    return words.to_str()


@functools.cache
def _llama_words():
    """In the form of Llama 2's: a space is put before every text, and bytes stand for unknown characters."""
    words = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    words.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    signs = ["<unk>", "<s>", "</s>", "<image>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=signs, show_progress=False)
    words.train_from_iterator(TEXTS, trainer)
    told = json.loads(words.to_str())
    told["added_tokens"] = [token for token in told["added_tokens"] if not token["content"].startswith("<0x")]
    told["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    return json.dumps({**told, "pre_tokenizer": None})


def qwen_tokenizer(**settings):
    words = Tokenizer.from_str(_qwen_words())
    words.add_tokens([AddedToken(token, normalized=False) for token in QWEN_TOOLS])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        **{
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "additional_special_tokens": ["<|im_start|>", *QWEN_PLACES],
            **settings,
        },
    )


def llama_tokenizer():
    words = Tokenizer.from_str(_llama_words())
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", words.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )


def qwen_processor(template=QWEN_TEMPLATE):
    size = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    images = Qwen2VLImageProcessorPil(size=size, patch_size=8, merge_size=2)
    return without_video(Qwen3VLProcessor)(images, qwen_tokenizer(), chat_template=template)


def llava_processor(template=LLAVA_TEMPLATE):
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return LlavaProcessor(
        images,
        llama_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def llava_next_processor():
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
    )
    return LlavaNextProcessor(
        images,
        llama_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )


def idefics_processor():
    images = Idefics3ImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    signs = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tiles]
    tokenizer = qwen_tokenizer(additional_special_tokens=["<|im_start|>", *signs])
    return Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=_placed("<image>"))


def gemma_processor():
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    places = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image>"}
    tokenizer = qwen_tokenizer(
        additional_special_tokens=["<|im_start|>", *places.values()], extra_special_tokens=places
    )
    template = _placed("<start_of_image>")
    return Gemma3Processor(images, tokenizer, image_seq_length=4, chat_template=template)


def _placed(place):
    return QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", place)


def qwen_model(seed=0):
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer()
    start, end, image, video = tokenizer.convert_tokens_to_ids(QWEN_PLACES)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]},
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "patch_size": 8,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    return Qwen3VLForConditionalGeneration(config).eval()


def llava_model(seed=0):
    torch.manual_seed(seed)
    tokenizer = llama_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 4}
    config = LlavaConfig(
        text_config=LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends),
        vision_config=CLIPVisionConfig(**{**sizes, "hidden_size": 24}, image_size=32, patch_size=8),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return LlavaForConditionalGeneration(config).eval()


PROCESSORS = {"qwen3-vl": qwen_processor, "llava": llava_processor}
OTHERS = {"llava-next": llava_next_processor, "idefics3": idefics_processor, "gemma3": gemma_processor}
"""Processors alone: of images in tiles, of images in rows, and with its own token types."""
MODELS = {"qwen3-vl": qwen_model, "llava": llava_model}


@functools.cache
def chats(kind):
    return ChatProcessor((PROCESSORS | OTHERS)[kind]())
