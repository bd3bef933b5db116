from collections import Counter
from pathlib import Path

import pytest

from benchmarks import kth_tips


def tree():
    return [
        Path("images") / name / f"{number}-scale_{scale}_im_{i}_grey.png"
        for name, number in (("cotton", 46), ("linen", 44))
        for scale in range(1, 6)
        for i in range(1, 10)
    ]


def test_only_the_fifth_scale_is_tested():
    parts = Counter((kth_tips.scale(Path(row.file)), row.part) for row in kth_tips.scale_rows(tree()))
    assert parts == {(1, "train"): 18, (2, "train"): 18, (3, "train"): 18, (4, "train"): 18, (5, "test"): 18}


def test_the_scale_is_tested_once_whatever_folds_are_asked_for():
    made = kth_tips.folds_of(tree(), kth_tips.RECIPE, ["random", "scale"], [1, 4])
    assert [fold.name for fold in made] == ["random-1", "random-4", "scale-0"]
    assert {row.part for row in made[0].rows} == {""}


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="is no NN-scale_S_im_I_grey"):
        kth_tips.scale(Path("images/cotton/46-im_1_grey.png"))


@pytest.mark.real
def test_every_real_image_tells_its_scale(real_data):
    folder = real_data / "kth-tips"
    if not folder.is_dir():
        pytest.skip(f"no KTH-TIPS: {folder} is not a folder")
    parts = Counter((row.label, row.part) for row in kth_tips.scale_rows(kth_tips.images_in(folder)))
    assert set(parts.values()) == {9, 36} and len(parts) == 20
