import pytest

from service.networks.detection.spec import AUTHORS, DETECTORS, MMDET


@pytest.mark.parametrize("name", DETECTORS)
def test_a_cascade_has_three_stages_and_openmmlab_a_mask_head_for_each(name: str) -> None:
    spec = DETECTORS[name]
    assert spec.stages == (3 if "cascade" in name else 1)
    expected = 0 if "mask" not in name else 3 if "mmdet_cascade" in name else 1
    assert spec.masks == expected


@pytest.mark.parametrize("name", DETECTORS)
def test_the_rules_follow_the_family(name: str) -> None:
    assert DETECTORS[name].rules is (MMDET if name.startswith("mmdet") else AUTHORS)


@pytest.mark.parametrize("name", DETECTORS)
def test_only_the_authors_plain_resnets_have_the_stride_first(name: str) -> None:
    authors = not name.startswith("mmdet")
    assert DETECTORS[name].stride_first == (authors and "_resnet" in name)


def test_the_network_with_the_tricks_has_a_deeper_mask_head() -> None:
    deep = [name for name, spec in DETECTORS.items() if spec.mask_convolutions == 8]
    assert deep == ["cascade_mask_rcnn_resnest200"]
