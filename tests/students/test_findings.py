import torch

from micrographia.students.findings import Amounts, Findings, levels
from micrographia.students.image_statistics import EXPOSURE, TEXTURE

CUTS = {"contrast": [-0.5, 0.8]}


def test_the_level_of_an_amount_is_read_between_its_cuts():
    amounts = torch.tensor([-2.0, -0.51, -0.49, 0.0, 0.79, 0.81, 2.0])
    told = levels(amounts, CUTS["contrast"])
    assert told.argmax(1).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert torch.allclose(told.exp().sum(1), torch.ones(7), atol=1e-4)
    assert told.exp()[1, 0] < 0.6  # in doubt beside the cut
    assert told.exp()[3, 1] > 0.98


def test_settled_amounts_lie_on_the_line_through_what_is_known():
    """Two amounts that are sums of statistics, one of them unknown of half of the images."""
    generator = torch.Generator().manual_seed(0)
    statistics = torch.randn(400, 6, generator=generator)
    amounts = torch.stack([statistics[:, 0] - statistics[:, 3], 0.5 * statistics[:, 5] + 1], dim=1)
    told = amounts.clone()
    told[::2, 1] = torch.nan
    reading = Amounts(4, 6, 2)
    reading.settle(statistics, told)
    with torch.no_grad():
        read = reading(torch.randn(400, 4, generator=generator), statistics)
    assert (read - amounts).abs().max() < 0.1


def test_the_class_is_read_from_cls_alone_and_other_labels_from_everything():
    torch.manual_seed(0)
    findings = Findings(
        8, {"class": ["a", "b"], "contrast": ["low", "moderate", "high"], "lines": ["few", "many"]}, CUTS
    )
    given = [torch.randn(2, 8), torch.randn(2, 8), torch.randn(2, 8), torch.randn(2, EXPOSURE + TEXTURE)]
    with torch.no_grad():
        logits, amounts, tokens = findings(*given)
        other = findings(given[0], *(torch.randn_like(part) for part in given[1:]))[0]
    assert amounts.shape == (2, 1) and tokens.shape == (2, 3, 8)
    assert torch.equal(logits["class"], other["class"])
    assert not torch.allclose(logits["lines"], other["lines"])
    assert not torch.allclose(logits["contrast"], other["contrast"])
