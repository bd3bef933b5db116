"""QLoRA as far as it goes without a GPU: what is refused, what would be built, and the way back."""

import pytest
import torch
from torch import nn

from micrographia.adapt.four_bit import four_bit_settings, in_full
from micrographia.adapt.methods import adapter_config, require_machine
from micrographia.errors import PlanError
from micrographia.recipe import LowRankSection
from tests.adapt.test_dyqlora_fa import logits
from tests.adapt.test_kept import tuned_by

QLORA = LowRankSection(method="qlora", rank=8, alpha=4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_it_is_refused():
    with pytest.raises(PlanError, match=r"need a CUDA device, and there is none: .* dyqlora_fa"):
        require_machine(QLORA)


def test_every_other_method_goes_anywhere():
    for method in ("dyqlora_fa", "lora", "rslora", "dora", "none"):
        require_machine(LowRankSection(method=method), sharding=True)


def test_its_adapter_is_plain_lora():
    config = adapter_config(QLORA, ["q_proj"], seed=0)
    assert (config.peft_type, config.r, config.lora_alpha) == ("LORA", 8, 4)
    assert not (config.use_dora or config.use_rslora)


def test_its_layers_are_normal_float_with_double_quantisation():
    assert four_bit_settings(torch.bfloat16) == {
        "quant_type": "nf4",
        "compress_statistics": True,
        "compute_dtype": torch.bfloat16,
    }


def test_back_in_full_precision_the_adapters_add_what_they_added():
    model = tuned_by("lora")
    told = logits(model)
    full = in_full(model)
    torch.testing.assert_close(logits(full.eval()), told, atol=0, rtol=0)
    assert all(
        type(layer.base_layer) is nn.Linear for layer in full.modules() if hasattr(layer, "base_layer")
    )
