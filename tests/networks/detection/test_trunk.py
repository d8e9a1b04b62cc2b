import torch

from service.networks.detection.trunk import FPN, RPN, Trunk
from service.networks.resnest import ARCHITECTURES
from service.networks.resnet import ResNet


def stage_maps(rows: int, columns: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(1, 256 * 2**stage, rows * 2 ** (3 - stage), columns * 2 ** (3 - stage), generator=random)
        for stage in range(4)
    )


def test_the_pyramid_has_five_levels_of_equal_width() -> None:
    found = FPN(8, norm=True).eval()(stage_maps(3, 4))
    assert [tuple(each.shape[1:]) for each in found] == [(8, 24, 32), (8, 12, 16), (8, 6, 8), (8, 3, 4), (8, 2, 2)]


def test_p6_is_every_second_pixel_of_p5() -> None:
    found = FPN(8, norm=False)(stage_maps(3, 4))
    assert torch.equal(found[4], found[3][:, :, ::2, ::2])


def test_a_coarse_level_is_added_to_the_finer_one_as_blocks_of_four_pixels() -> None:
    network, maps = FPN(8, norm=False), stage_maps(1, 1)
    without = network((*maps[:3], torch.zeros_like(maps[3])))
    network.get_parameter("lateral.3.conv.bias").data.zero_()
    fine, coarse = (network.get_submodule(f"lateral.{level}")(maps[level]) for level in (2, 3))
    expected = network.get_submodule("output.2")(fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
    found = network(maps)[2]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, without[2], atol=1e-3)


def test_the_logits_of_an_anchor_and_its_deltas_have_the_same_place() -> None:
    network = RPN(2)
    torch.nn.init.zeros_(network.objectness.weight)
    torch.nn.init.zeros_(network.deltas.weight)
    network.get_parameter("objectness.bias").data = torch.tensor([1.0, 2, 3])
    network.get_parameter("deltas.bias").data = torch.arange(12.0)
    logits, deltas = network([torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 1, 1)])
    assert logits.tolist() == [1, 2, 3] * 7
    assert deltas.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] * 7


def test_a_trunk_returns_an_output_for_each_anchor() -> None:
    trunk = Trunk(ResNet(ARCHITECTURES["resnest14"], 0), 8, norm=True).eval()
    with torch.inference_mode():
        found = trunk(torch.zeros(1, 3, 64, 96))
    anchors = 3 * (16 * 24 + 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2)
    assert found.objectness.shape == (anchors,)
    assert found.deltas.shape == (anchors, 4)
