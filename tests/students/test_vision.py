import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from micrographia.errors import StudentError
from micrographia.students.configuration import VisionConfig
from micrographia.students.image_statistics import LARGEST, texture
from micrographia.students.vision import LabelledVision, VisionEncoder

SETS = {"streaks": ["none", "some"], "contrast": ["low", "moderate", "high"], "class": ["fibres", "powder"]}
"""Named against the alphabet, to show that the order of columns does not depend on how it was written."""

CUTS = {"contrast": [-0.5, 0.8]}


def small(**changes: object) -> VisionConfig:
    return VisionConfig.default(
        **{"image_size": 64, "window": 2, "hidden_size": 32, "key_size": 8, **changes}
    )


def pictures(config: VisionConfig, count: int = 3, seed: int = 0) -> Tensor:
    shape = (count, config.channels, config.image_size, config.image_size)
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def settled(config: VisionConfig) -> VisionEncoder:
    """An encoder for use, its statistics taken from images and not left at their start."""
    torch.manual_seed(0)
    encoder = VisionEncoder(config)
    batches = [pictures(config, 8, seed) for seed in range(5)]
    encoder.settle(batches)
    for batch in batches:
        encoder(batch)  # batch norm
    return encoder.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["default", "paper"])
def test_tokens_and_cls_have_the_announced_shapes(kind, channels):
    config = getattr(VisionConfig, kind)(channels=channels)
    seen = VisionEncoder(config)(pictures(config))
    assert seen.tokens.shape == (3, config.tokens, config.hidden_size)
    assert seen.cls.shape == (3, config.hidden_size)


def test_the_paper_setting_is_the_published_one():
    config = VisionConfig.paper()
    assert (config.image_size, config.patch_size, config.hidden_size, config.heads) == (224, 32, 64, 4)
    assert config.key_size == 32
    assert config.tokens == 7 * 7 + 1


def test_the_default_is_of_the_announced_size():
    count = sum(p.numel() for p in VisionEncoder(VisionConfig.default()).parameters())
    assert 0.3e6 < count < 0.8e6


def test_another_shape_is_refused_with_both_shapes():
    config = small()
    with pytest.raises(StudentError, match=r"\(2, 3, 64, 64\).*\(B, 1, 64, 64\)"):
        VisionEncoder(config)(torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"kind": "square"}, {"patch_size": 8}, {"window": 3}),
        *({"image_size": 100}, {"image_size": 32, "window": 1}, {"image_size": 112, "window": 7}),
    ],
)
def test_an_impossible_configuration_is_refused(wrong):
    with pytest.raises(StudentError):
        VisionConfig.default(**wrong)


@settings(max_examples=20, deadline=None)
@given(contrast=st.floats(0.2, 3), brightness=st.floats(-0.8, 0.8))
def test_brightness_and_contrast_reach_only_the_exposure_token(contrast, brightness):
    config = small()
    encoder, images = settled(config), pictures(config)
    with torch.no_grad():
        plain, changed = encoder(images), encoder(contrast * images + brightness)
    assert torch.allclose(plain.cls, changed.cls, atol=1e-3)
    assert torch.allclose(plain.tokens[:, :-1], changed.tokens[:, :-1], atol=1e-3)
    if abs(brightness) > 0.1 or not 0.8 < contrast < 1.25:
        assert (plain.tokens[:, -1] - changed.tokens[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_a_flat_image_gives_finite_tokens(level):
    config = small()
    encoder = VisionEncoder(config)
    images = torch.full((2, 1, 64, 64), level, requires_grad=True)
    seen = encoder(images)
    (seen.tokens.square().sum() + seen.cls.square().sum()).backward()
    assert torch.isfinite(seen.tokens).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("kind", ["default", "paper"])
def test_a_saved_model_comes_back_equal(kind, tmp_path):
    config = getattr(VisionConfig, kind)(labels=SETS, cuts=CUTS)
    model = LabelledVision(config)
    images = pictures(config)
    model.encoder.settle([images])
    model.eval().save_pretrained(tmp_path)
    again = LabelledVision.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        before, after = model(images).logits, again(images).logits
    assert list(before) == list(after) == ["class", "contrast", "streaks"]
    for name in before:  # sums may run in another order where memory is laid out otherwise
        torch.testing.assert_close(before[name], after[name], rtol=1e-4, atol=1e-5)
    state = model.state_dict()
    assert all(torch.equal(values, state[name]) for name, values in again.state_dict().items())
    assert (again.config.labels, again.config.cuts) == (config.labels, config.cuts)


@pytest.mark.parametrize("kind", ["default", "paper"])
def test_the_gradient_reaches_every_parameter(kind):
    """The words of the findings are for the text stack, which is not here."""
    config = getattr(VisionConfig, kind)(labels=SETS, cuts=CUTS)
    model = LabelledVision(config)
    labels = torch.tensor([[0, 1, 1], [1, 2, 0], [0, 0, 1], [1, 1, 0]])
    model(pictures(config, 4), labels, torch.full((4, 1), 2.0)).loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == [f"encoder.findings.words.{name}" for name in sorted(SETS)]


def test_every_label_set_becomes_a_token_between_its_words():
    config = small(labels=SETS, cuts=CUTS)
    encoder = settled(config)
    with torch.no_grad():
        seen = encoder(pictures(config))
    assert seen.tokens.shape[1] == config.tokens == 4 * 4 + 1 + 3
    for place, name in enumerate(sorted(SETS)):
        told = seen.findings[name].softmax(1) @ encoder.findings.words[name]
        assert torch.allclose(seen.tokens[:, 4 * 4 + 1 + place], told)


def test_an_eye_that_is_settled_knows_amounts_that_the_statistics_tell():
    """Images of many contrasts, the contrast their amount: a line through the statistics finds it."""
    config = small(labels={"contrast": SETS["contrast"]}, cuts=CUTS)
    contrast = torch.linspace(0.2, 2, 80)
    images = contrast[:, None, None, None] * pictures(config, 80)
    amount = ((contrast - contrast.mean()) / contrast.std())[:, None]
    amount[::7] = torch.nan  # unknown of some
    encoder = VisionEncoder(config)
    encoder.settle(images.split(16), amount)
    with torch.no_grad():
        told = encoder.eval()(images).amounts
    known = ~amount.isnan()
    assert (told - amount)[known].abs().mean() < 0.05


def test_no_direction_is_usual_where_all_images_run_one_way():
    """They are shown turned as well, so a turned image must not be out of all bounds."""
    config = small()
    stripes = torch.sin(torch.arange(64.0) * 0.5).expand(12, 1, 64, 64) + 0.05 * pictures(config, 12)
    encoder = VisionEncoder(config)
    encoder.settle(stripes.split(4))
    upright, turned = (encoder.usual_texture(texture(view)) for view in (stripes, stripes.rot90(dims=(2, 3))))
    assert upright.abs().max() < LARGEST and turned.abs().max() < LARGEST


def test_a_student_of_half_the_digits_sees_about_the_same():
    config = small(labels=SETS, cuts=CUTS)
    encoder, images = settled(config), pictures(config)
    with torch.no_grad():
        whole, half = encoder(images), encoder.to(torch.bfloat16)(images.to(torch.bfloat16))
    assert half.tokens.dtype == torch.bfloat16
    assert (half.cls.float() - whole.cls).abs().mean() < 0.1 * whole.cls.abs().mean()


def test_in_half_the_digits_its_statistics_are_whole_and_it_takes_whole_pixels(tmp_path):
    config = small(labels=SETS, cuts=CUTS)
    encoder, images = settled(config), pictures(config)
    encoder.save_pretrained(tmp_path)
    half = VisionEncoder.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert half.dtype == torch.bfloat16
    for name, statistics in encoder.named_buffers():
        if name.startswith("usual_"):
            assert torch.equal(half.get_buffer(name), statistics)
    with torch.no_grad():
        seen, whole = half(images), encoder(images)
    assert seen.tokens.dtype == torch.bfloat16
    torch.testing.assert_close(seen.tokens.float(), whole.tokens, atol=0.1, rtol=0.1)


def test_cuts_are_one_fewer_than_levels():
    with pytest.raises(StudentError, match=r"cuts of 'contrast' are \[0.1\]"):
        small(labels=SETS, cuts={"contrast": [0.1]})


def test_the_class_cannot_be_read_from_the_exposure():
    config = small(labels=SETS)
    model = LabelledVision(config).eval()
    images = pictures(config)
    with torch.no_grad():
        dark, bright = model(images - 0.3).logits, model(images + 0.3).logits
    assert torch.allclose(dark["class"], bright["class"], atol=1e-4)
    assert not torch.allclose(dark["contrast"], bright["contrast"], atol=1e-4)


def test_without_label_sets_there_is_nothing_to_learn():
    with pytest.raises(StudentError, match="labels is empty"):
        LabelledVision(small())


def test_unknown_labels_do_not_count():
    config = small(labels=SETS, label_smoothing=0.0)
    model = LabelledVision(config).eval()
    images = pictures(config, 2)
    labels = torch.tensor([[1, -100, -100], [-100, -100, -100]])
    with torch.no_grad():
        seen = model(images, labels)
    expected = -seen.logits["class"].log_softmax(1)[0, 1]
    assert torch.allclose(seen.loss, expected)


def test_the_loss_of_an_amount_stands_for_that_of_its_levels():
    config = small(labels=SETS, cuts=CUTS, label_smoothing=0.0)
    model = LabelledVision(config).eval()
    images, unknown = pictures(config, 2), torch.full((2, 3), -100)
    with torch.no_grad():
        amounts = model.encoder(images).amounts
        near = model(images, unknown, amounts + 0.05).loss
        far = model(images, unknown, amounts + 1.05).loss
        half = model(images, unknown, torch.stack([amounts[0] + 0.05, torch.tensor([torch.nan])])).loss
    assert near == pytest.approx(0.05**2 / 2 / 0.1, rel=0.01)  # Huber with delta 0.1, over 0.1
    assert far == pytest.approx(1.05 - 0.05, rel=0.01)
    assert half == pytest.approx(float(near), rel=0.01)


def test_a_batch_of_unknown_labels_costs_nothing_and_still_has_a_gradient():
    config = small(labels=SETS)
    loss = LabelledVision(config)(pictures(config, 2), torch.full((2, 3), -100)).loss
    loss.backward()
    assert loss.item() == 0


def test_the_local_layers_see_only_their_window():
    config = small()
    encoder = settled(config)
    grid = torch.randn(1, 4, 4, config.hidden_size, generator=torch.Generator().manual_seed(1))
    other = grid.clone()
    other[0, 3, 3, 0] += 9
    with torch.no_grad():
        changed = (encoder.local(grid) - encoder.local(other)).abs().sum(3)[0] > 0
    expected = np.zeros((4, 4), bool)
    expected[2:, 2:] = True
    np.testing.assert_array_equal(changed.numpy(), expected)


def test_position_is_told_in_rows_and_columns():
    encoder = VisionEncoder(small())
    grid = encoder.rows + encoder.columns
    assert grid.shape == (4, 4, 32)
    assert not torch.equal(grid[0, 1], grid[1, 0])


def test_it_learns_what_brightness_does_not_tell():
    """Stripes against checks, each at random brightness and contrast: solved within a few steps."""
    torch.manual_seed(0)
    config = small(labels={"class": ["stripes", "checks"]})
    model = LabelledVision(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    stripes, checks = torch.sin(rows * 0.8), torch.sin(rows * 0.8) * torch.sin(columns * 0.8)

    def batch() -> tuple[Tensor, Tensor]:
        kind = torch.randint(2, (16, 1))
        images = torch.where(kind[:, :, None, None] == 0, stripes, checks) * torch.rand(16, 1, 1, 1)
        return images + 0.1 * torch.randn(16, 1, 64, 64) + 0.5 * torch.randn(16, 1, 1, 1), kind

    for _ in range(30):
        optimizer.zero_grad()
        model(*batch()).loss.backward()
        optimizer.step()
    images, kind = batch()
    with torch.no_grad():
        assert (model.eval()(images).logits["class"].argmax(1) == kind[:, 0]).float().mean() > 0.9
