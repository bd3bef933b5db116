import numpy as np
import pytest
import torch
import torch.nn.functional as F

from micrographia.errors import StudentError
from micrographia.students import losses
from micrographia.students.configuration import MVaEMaConfig
from micrographia.students.mvaema import COLDEST, MVaEMaForConditionalGeneration

from .tiny import DECODE, EOS, pictures, questions, tiny_config, tiny_student, words


def sequences(count, seed=0):
    """Questions of 5 and answers of 4 tokens, and labels that hold the answers."""
    ids = torch.cat([questions(count, seed=seed), words(count, 4, seed=seed + 1)], dim=1)
    ids[:, -1] = EOS
    labels = ids.clone()
    labels[:, :5] = losses.IGNORED
    return ids, labels


def batch(count=4, **changes):
    ids, labels = sequences(count)
    made = {
        "pixel_values": pictures(count),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "itc_input_ids": words(count, 6, seed=9),
    }
    return {**made, **changes}


def test_each_loss_has_a_switch():
    everything = tiny_student()(**batch())
    parts = {"itc", "itm", "lm"}
    assert parts <= set(everything)
    assert torch.isclose(everything.loss, sum(everything[part] for part in parts))
    for off in parts:
        out = tiny_student(**{off: False})(**batch())
        assert parts & set(out) == parts - {off}
        for part in parts - {off}:
            assert torch.isclose(out[part], everything[part]), part


def test_all_switches_off_is_refused():
    with pytest.raises(StudentError, match="all off"):
        tiny_config(itc=False, itm=False, lm=False)


def test_language_loss_is_that_of_the_answers_by_hand():
    student, made = tiny_student(), batch(3)
    with torch.no_grad():
        loss = student(**made).lm.item()
        logits = student(pixel_values=made["pixel_values"], input_ids=made["input_ids"]).logits.double()
    p = torch.softmax(logits, -1).numpy()
    ids = made["input_ids"].numpy()
    by_hand = [-np.log(p[row, place - 1, ids[row, place]]) for row in range(3) for place in range(5, 9)]
    assert loss == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_no_loss_falls_on_the_question():
    student, made = tiny_student(), batch()
    reference = student(**made).lm
    labelled = made["labels"].clone()
    labelled[:, 2] = made["input_ids"][:, 2]  # now one word of the question counts
    assert not torch.isclose(student(**{**made, "labels": labelled}).lm, reference)
    unscored = made["labels"].clone()
    unscored[:, 5:] = losses.IGNORED
    assert student(**{**made, "labels": unscored}).lm.item() == 0


def test_the_answer_does_not_reach_back():
    student = tiny_student()
    ids, _ = sequences(2)
    other = ids.clone()
    other[:, 6:] = words(2, 3, seed=77)
    seen = pictures(2)
    before = student(pixel_values=seen, input_ids=ids).logits
    after = student(pixel_values=seen, input_ids=other).logits
    assert torch.allclose(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_padding_on_the_right_changes_nothing():
    student, made = tiny_student(), batch()
    padded = {
        **made,
        "input_ids": F.pad(made["input_ids"], (0, 3), value=0),
        "labels": F.pad(made["labels"], (0, 3), value=losses.IGNORED),
        "attention_mask": F.pad(made["attention_mask"], (0, 3), value=0),
        "itc_input_ids": F.pad(made["itc_input_ids"], (0, 2), value=0),
        "itc_attention_mask": F.pad(torch.ones_like(made["itc_input_ids"]), (0, 2), value=0),
    }
    plain, out = student(**made), student(**padded)
    for part in ("itc", "itm", "lm"):
        assert torch.isclose(plain[part], out[part], rtol=1e-5), part


def test_padding_on_the_left_changes_nothing():
    student = tiny_student()
    ids, seen = questions(3), pictures(3)
    plain = student(pixel_values=seen, input_ids=ids).logits
    mask = F.pad(torch.ones_like(ids), (4, 0), value=0)
    padded = student(pixel_values=seen, input_ids=F.pad(ids, (4, 0), value=0), attention_mask=mask).logits
    assert torch.allclose(padded[:, 4:], plain, atol=1e-5)
    assert torch.isfinite(padded).all()


def test_several_texts_of_one_image_encode_it_once(monkeypatch):
    student = tiny_student()
    seen, (ids, _) = pictures(2), sequences(6)
    index = torch.tensor([0, 0, 1, 0, 1, 1])
    looked = []
    see = student.vision.forward
    monkeypatch.setattr(student.vision, "forward", lambda x: (looked.append(len(x)), see(x))[1])
    once = student(pixel_values=seen, input_ids=ids, image_index=index).logits
    assert looked == [2]
    assert torch.allclose(once, student(pixel_values=seen[index], input_ids=ids).logits, atol=1e-5)


def test_the_image_and_the_question_matter():
    student, ids = tiny_student(), questions(1)
    logits = student(pixel_values=pictures(1, seed=1), input_ids=ids).logits[0, -1]
    elsewhere = student(pixel_values=pictures(1, seed=2), input_ids=ids).logits[0, -1]
    asked = student(pixel_values=pictures(1, seed=1), input_ids=questions(1, seed=3)).logits[0, -1]
    assert (logits - elsewhere).abs().max() > 1e-3
    assert (logits - asked).abs().max() > 1e-3


def test_encoder_and_decoder_share_all_but_self_attention():
    student, made = tiny_student(), batch()
    student(**{**made, "labels": None, "input_ids": None}).itm.backward()
    matched = sublayers_with_gradient(student)
    student.zero_grad()
    student(**{**made, "itc_input_ids": None}).loss.backward()
    told = sublayers_with_gradient(student)
    assert matched - told == {"both_ways", "norm_both_ways"}
    assert told - matched == {"causal", "norm_causal"}
    assert told & matched == {"cross", "norm_cross", "feed_forward", "norm_feed_forward"}


def sublayers_with_gradient(student):
    learned = [name for name, p in student.named_parameters() if p.grad is not None and p.grad.any()]
    return {name.split(".")[3] for name in learned if name.startswith("text.blocks.")}


def test_contrast_is_of_directions_only():
    student, made = tiny_student(), batch()
    reference = student(**made).itc
    with torch.no_grad():
        for projection in (student.project_image, student.project_text):
            projection.weight.mul_(3)
            projection.bias.mul_(3)
    assert torch.isclose(student(**made).itc, reference)


def test_one_group_leaves_matching_out_and_stays_finite():
    student = tiny_student().train()
    out = student(**batch(groups=torch.zeros(4, dtype=torch.long)))
    out.loss.backward()
    assert out.itm is None
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)


def test_one_image_alone_trains():
    out = tiny_student().train()(**batch(1))
    out.loss.backward()
    assert out.itm is None
    assert torch.isfinite(out.loss)


def test_validation_losses_repeat_and_training_draws():
    student, made = tiny_student(), batch(8)
    assert student(**made).itm == student(**made).itm
    student.train()
    student.vision.eval()
    assert len({student(**made).itm.item() for _ in range(8)}) > 1


def test_temperature_is_learnt_within_limits():
    student = tiny_student().train()
    student(**batch()).itc.backward()
    assert student.log_temperature.grad != 0
    with torch.no_grad():
        student.log_temperature.fill_(-30)
    assert torch.isfinite(student(**batch()).loss)
    assert student.log_temperature.exp().item() == pytest.approx(COLDEST)


def test_what_does_not_fit_is_refused():
    student = tiny_student()
    with pytest.raises(StudentError, match="no image"):
        student(input_ids=questions(1))
    with pytest.raises(StudentError, match="3 texts and 2 images"):
        student(pixel_values=pictures(2), input_ids=questions(3))
    with pytest.raises(StudentError, match="60 tokens, the student was made for 48"):
        student(pixel_values=pictures(1), input_ids=questions(1, 60))
    with pytest.raises(StudentError, match="need the <cls>"):
        student(image_tokens=student.vision(pictures(1)).tokens, itc_input_ids=words(1, 3))


def test_a_batch_with_nothing_to_compare_costs_nothing_and_has_a_gradient():
    """One image has no negative, and there is no language loss."""
    student = tiny_student(itc=False, lm=False)
    ids = questions(1)
    loss = student(ids, pixel_values=pictures(1), labels=ids, itc_input_ids=words(1, 4)).loss
    loss.backward()
    assert loss == 0


def test_saved_and_loaded_are_equal(tmp_path):
    student, made = tiny_student(), batch()
    student.save_pretrained(tmp_path)
    loaded = MVaEMaForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert loaded.config.to_diff_dict() == student.config.to_diff_dict()
    assert {f.name for f in tmp_path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }
    before, after = student(**made), loaded(**made)
    assert before.loss == after.loss
    assert loaded.generation_config.max_new_tokens == student.config.max_position_embeddings // 2


def test_the_published_setting():
    config = MVaEMaConfig.paper(500)
    eye = config.vision_config
    assert (eye.kind, eye.image_size, eye.patch_size, eye.channels) == ("paper", 224, 32, 3)
    assert eye.hidden_size == config.hidden_size == 64
    assert (eye.heads, eye.key_size, config.num_attention_heads, config.key_size) == (4, 16, 4, 16)
    student = MVaEMaForConditionalGeneration(config).eval()
    logits = student(pixel_values=torch.zeros(1, 3, 224, 224), input_ids=questions(1)).logits
    assert logits.shape == (1, 5, 500)


def test_fresh_weights_say_nothing_yet():
    torch.manual_seed(0)
    student = MVaEMaForConditionalGeneration(MVaEMaConfig.default(500)).train()
    out = student(
        pixel_values=torch.rand(4, 1, 128, 128) * 2 - 1,
        input_ids=(ids := torch.randint(5, 500, (4, 9))),
        labels=ids,
        itc_input_ids=torch.randint(5, 500, (4, 6)),
    )
    assert out.lm.item() == pytest.approx(np.log(500), abs=0.8)
    assert out.itm.item() == pytest.approx(np.log(2), abs=0.3)


def test_decode_id_closes_questions():
    assert tiny_config().bos_token_id == DECODE
