import pytest

from benchmarks import student


def test_the_first_time_does_not_count():
    calls = []
    student.seconds(lambda: calls.append(1), 3)
    assert len(calls) == 1 + 3


@pytest.mark.parametrize("make", [student.label_step, student.word_step])
def test_a_step_is_a_step_of_training(make):
    step = make()
    step()
    parameters = {
        id(p): p
        for cell in step.__closure__
        if hasattr(m := cell.cell_contents, "parameters")
        for p in m.parameters()
    }
    moving = [p for p in parameters.values() if p.requires_grad]
    before = [p.detach().clone() for p in moving]
    step()
    assert any((p.detach() - old).abs().max() > 0 for p, old in zip(moving, before, strict=True))
