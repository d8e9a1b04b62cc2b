"""docker-compose.yml is valid with every profile, and as hardened and configured as the manifests and the code."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.config.api_keys import check_exposure, digest, parse
from service.config.settings import Settings
from tests.deploy import reading
from tests.deploy.programs import TOP, run

COMPOSE = reading.load("docker-compose.yml")["services"]
SERVICES = [pytest.param(each, id=name) for name, each in COMPOSE.items()]
PROFILES: tuple[list[str], ...] = ([], ["--profile", "observability"])


@pytest.mark.parametrize("profiles", PROFILES, ids=["no profile", "observability"])
def test_compose_accepts_the_file_with_every_profile(profiles: list[str]) -> None:
    resolved = json.loads(run("docker-compose", *profiles, "config", "--format", "json"))

    assert {"gateway", "worker"} <= resolved["services"].keys()
    assert ("grafana" in resolved["services"]) == bool(profiles)


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_is_without_privileges_and_with_bounds(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_to_this_machine_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_worker_is_on_the_internal_network_alone_and_publishes_nothing() -> None:
    assert COMPOSE["worker"]["networks"] == ["inside"]
    assert "ports" not in COMPOSE["worker"]
    assert reading.load("docker-compose.yml")["networks"]["inside"] == {"internal": True}


def test_the_gateway_starts_when_the_worker_is_healthy() -> None:
    assert COMPOSE["gateway"]["depends_on"]["worker"]["condition"] == "service_healthy"


def test_the_gateway_has_the_settings_of_the_manifests() -> None:
    assert COMPOSE["gateway"]["env_file"] == "deploy/kubernetes/base/gateway.env"


def test_prometheus_finds_the_gateway_under_its_alias() -> None:
    found = reading.scraped("resnest-gateway")

    assert found["names"] == COMPOSE["gateway"]["networks"]["inside"]["aliases"]
    assert "inside" in COMPOSE["prometheus"]["networks"]


def test_prometheus_finds_the_worker_under_its_name() -> None:
    assert reading.scraped("resnest-worker")["names"] == ["worker"]
    assert COMPOSE["worker"]["networks"] == ["inside"]


def test_prometheus_finds_alertmanager_and_that_its_receiver_under_their_names() -> None:
    (found,) = reading.load("deploy/prometheus/prometheus.yml")["alerting"]["alertmanagers"][0]["dns_sd_configs"]
    receivers = reading.load("deploy/alertmanager/alertmanager.yml")["receivers"]
    hosts = {urlsplit(each["webhook_configs"][0]["url"]).hostname for each in receivers}

    assert {*found["names"], *hosts} <= COMPOSE.keys()
    assert {*found["names"], *hosts} <= reading.of_kind("overlays/local", "Service").keys()


@pytest.mark.parametrize("feature", ["exemplar-storage", "expand-external-labels"])
def test_prometheus_has_the_features_that_its_file_and_the_exemplars_need(feature: str) -> None:
    (container,) = reading.pods("overlays/local")["prometheus"]["containers"]

    assert all(feature in " ".join(flags) for flags in (COMPOSE["prometheus"]["command"], container["args"]))
    assert COMPOSE["prometheus"]["env_file"] == "deploy/prometheus/links.env"
    assert container["envFrom"][0]["configMapRef"]["name"].startswith("prometheus-links")


def test_the_port_of_metrics_is_not_published() -> None:
    found = reading.scraped("resnest-gateway")
    published = [port.rpartition(":")[2] for port in COMPOSE["gateway"]["ports"]]

    assert str(found["port"]) not in published


def test_every_file_that_is_mounted_is_in_the_project() -> None:
    mounts = [mount for service in COMPOSE.values() for mount in service.get("volumes", []) if mount.startswith("./")]

    assert mounts
    assert [mount for mount in mounts if not (TOP / mount.split(":")[0]).exists()] == []


def test_grafana_takes_its_password_from_a_secret_and_has_none_of_its_own() -> None:
    variables = {name: value for name, value in COMPOSE["grafana"]["environment"].items() if "PASSWORD" in name}

    assert variables == {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana-admin"}


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_the_same_image_runs_here_and_in_the_cluster(name: str) -> None:
    (container,) = reading.pods("overlays/local")[name]["containers"]

    assert COMPOSE[name]["image"] == container["image"]


@pytest.mark.parametrize("name", COMPOSE)
def test_the_same_memory_is_allowed_here_and_in_the_cluster(name: str) -> None:
    (container,) = reading.pods("overlays/local")[name]["containers"]

    assert reading.bytes_of(COMPOSE[name]["mem_limit"]) == reading.bytes_of(container["resources"]["limits"]["memory"])


def test_the_gateway_has_the_time_to_drain_that_its_settings_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (TOP / COMPOSE["gateway"]["env_file"]).read_text(encoding="utf-8").splitlines()
    for name, value in (line.split("=", 1) for line in lines if line and not line.startswith("#")):
        monkeypatch.setenv(name, value)
    settings = Settings()

    assert int(COMPOSE["gateway"]["stop_grace_period"].rstrip("s")) > settings.drain_s + settings.graceful_timeout_s


@pytest.mark.parametrize("keys", ["", f"web classify {digest('s3cret')}\napp segment {digest('other')}"])
def test_the_gateway_asks_for_keys_where_it_is_given_some_and_is_for_this_machine_alone_where_not(
    keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = json.loads(run("docker-compose", "config", "--format", "json", RESNEST_KEYS=keys))
    variables = resolved["services"]["gateway"]["environment"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()

    assert settings.authenticates_callers == bool(keys)
    assert len(parse(settings.keys)) == len(keys.splitlines())
    check_exposure("0.0.0.0", protected=settings.authenticates_callers, waived=settings.allow_no_keys)
    assert {port["host_ip"] for port in resolved["services"]["gateway"]["ports"]} == {"127.0.0.1"}


def test_the_worker_reads_decoded_images_in_a_volume_in_memory_that_has_room_for_the_gateways() -> None:
    gateway, worker = COMPOSE["gateway"], COMPOSE["worker"]
    folder = gateway["environment"]["RESNEST_SHARED_MEMORY_DIR"]
    volume = reading.load("docker-compose.yml")["volumes"]["memory"]["driver_opts"]
    options = dict(each.split("=") for each in volume["o"].split(","))

    assert worker["environment"]["RESNEST_SHARED_MEMORY_DIR"] == folder
    assert f"memory:{folder}" in gateway["volumes"]
    assert f"memory:{folder}" in worker["volumes"]
    assert volume["type"] == "tmpfs"
    assert reading.bytes_of(options["size"]) >= int(gateway["environment"]["RESNEST_SHARED_MEMORY_BYTES"]) > 0
    assert f"USER {options['uid']}:{options['gid']}" in (TOP / "Dockerfile").read_text(encoding="utf-8")
