import torch

from service.networks.detection.heads import BoxHead, MaskHead


def box_head(*, per_class: bool) -> BoxHead:
    return BoxHead(4, 3, convolutions=1, layers=2, hidden=6, per_class=per_class).eval()


def test_a_box_head_has_a_logit_more_than_classes() -> None:
    logits, deltas = box_head(per_class=True)(torch.zeros(2, 4, 7, 7))
    assert logits.shape == (2, 4)
    assert deltas.shape == (2, 12)


def test_the_classes_of_a_cascade_share_their_deltas() -> None:
    assert box_head(per_class=False)(torch.zeros(2, 4, 7, 7))[1].shape == (2, 4)


def test_features_are_flattened_channel_first() -> None:
    head = BoxHead(2, 1, convolutions=0, layers=1, hidden=1, per_class=True)
    weights = head.get_parameter("fcs.0.weight")
    torch.nn.init.zeros_(weights)
    torch.nn.init.ones_(weights[:, 49:])
    torch.nn.init.zeros_(head.get_parameter("fcs.0.bias"))
    regions = torch.cat([torch.zeros(1, 1, 7, 7), torch.ones(1, 1, 7, 7)], dim=1)
    seen: list[torch.Tensor] = []
    head.scores.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    head(regions)
    assert seen[0].item() == 49


def test_a_mask_has_twice_the_sides_of_the_features() -> None:
    assert MaskHead(4, 3, convolutions=2, norm=True).eval()(torch.zeros(2, 4, 14, 14)).shape == (2, 3, 28, 28)


def test_no_region_is_no_mask() -> None:
    assert MaskHead(4, 3, convolutions=1, norm=False)(torch.zeros(0, 4, 14, 14)).shape == (0, 3, 28, 28)
