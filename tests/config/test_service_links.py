"""Kubernetes' variables for Services, which look like settings."""

import pytest

from service.config import service_links


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RESNEST_PORT", "tcp://10.0.0.1:8000"),
        ("RESNEST_ADMIN_PORT", "tcp://10.96.12.3:9000"),
        ("RESNEST_PORT", "udp://[fd00::1]:53"),
    ],
)
def test_a_link_that_has_the_name_of_a_setting_is_removed_with_a_warning(name: str, value: str) -> None:
    environment = {name: value, "RESNEST_HOST": "0.0.0.0", "PATH": "tcp://10.0.0.1:1"}
    warning = service_links.remove(environment)
    assert environment == {"RESNEST_HOST": "0.0.0.0", "PATH": "tcp://10.0.0.1:1"}
    assert warning is not None
    assert warning.startswith(f"ignoring {name}: Kubernetes sets it")


def test_the_other_links_of_a_service_are_removed_without_a_word() -> None:
    environment = {
        "RESNEST_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "RESNEST_PORT_8000_TCP_PROTO": "tcp",
        "RESNEST_PORT_8000_TCP_PORT": "8000",
        "RESNEST_GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.1",
        "RESNEST_SERVICE_HOST": "10.0.0.1",
        "RESNEST_SERVICE_PORT_HTTP": "8000",
        "RESNEST_ADMIN_PORT": "9000",
    }
    assert service_links.remove(environment) is None
    assert environment == {"RESNEST_ADMIN_PORT": "9000"}


@pytest.mark.parametrize("value", ["8000", "redis://10.0.0.1:6379", "http://10.0.0.1:8080", ""])
def test_what_an_operator_sets_stays(value: str) -> None:
    environment = {"RESNEST_PORT": value}
    assert service_links.remove(environment) is None
    assert environment == {"RESNEST_PORT": value}
