"""The schedule and the parameter groups that every training here shares."""

import pytest
from torch import nn

from service.engines.training import optimisation


def test_the_cosine_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    factors = [optimisation.cosine(each, 100, 0.1) for each in range(100)]

    assert factors[:10] == pytest.approx([0.1 * (each + 1) for each in range(10)])
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001


def test_weight_decay_is_for_matrices_and_each_module_has_its_factor_of_the_rate() -> None:
    body, head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(2, 2)
    optimizer = optimisation.optimiser([(body, 1.0), (head, 10.0)], rate=0.1, decay=1e-4)
    optimisation.set_rate(optimizer, 0.05)

    found = {
        id(parameter): (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    wanted = {
        id(parameter): (1e-4 if parameter.ndim > 1 else 0.0, pytest.approx(rate))
        for module, rate in ((body, 0.05), (head, 0.5))
        for parameter in module.parameters()
    }
    assert found == wanted
