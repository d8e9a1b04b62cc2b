"""Tests of the program that measures masks."""

import torch
from click.testing import CliRunner

from benchmarks.costs import masks
from service.tasks.segmentation.head import segment


def test_it_prints_a_row_for_each_number_of_classes_and_each_rendering() -> None:
    found = CliRunner().invoke(masks.main, ["--repeats", "1"])

    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert sum(line.startswith(("150", "59", "21", "2 ")) for line in lines) == len(masks.CLASSES) * len(masks.MAPS)
    assert found.output.count("overlay, PNG") == len(masks.UPLOADS)


def test_the_product_s_mask_is_the_reference_s() -> None:
    for classes in (2, 150):
        logits = masks.made_logits(classes, 25, 33)
        found = segment(masks.upsample, logits[None], masks.SIZE)
        mask, scores = masks.reference(logits)

        assert torch.equal(found["mask"][0], mask.to(torch.uint8))
        large = torch.bincount(mask.flatten(), minlength=classes) > masks.LARGE
        assert (found["class_scores"][0] - scores)[large].abs().max() < 0.03
