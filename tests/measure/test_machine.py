"""Tests of the description of the machine."""

import platform

from service.config.cores import usable_cores
from service.measure import machine


def test_the_machine_has_cores_a_system_and_a_load() -> None:
    found = machine.describe()
    assert found["cores"] == usable_cores()
    assert found["python"] == platform.python_version()
    assert found["load_average"] >= 0
