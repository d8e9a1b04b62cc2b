"""The plan of a large fleet: its figures are consistent with each other and with the settings."""

import dataclasses

import pytest

from deploy.planning import fleet_plan, server_kinds
from deploy.planning.server_kinds import Assumptions, ServerKind
from service.gateway.metrics import STAGES
from service.gateway.metrics.series import SECONDS
from service.host.torchserve import MOST_CONNECTIONS

KNOWN = server_kinds.read()
every_kind = pytest.mark.parametrize("kind", KNOWN.kinds, ids=lambda kind: kind.name)


@every_kind
def test_the_other_regions_carry_the_peak_when_one_fails(kind: ServerKind) -> None:
    found = fleet_plan.plan(kind, KNOWN.service)
    left = found.servers * (KNOWN.service["regions"] - 1) / KNOWN.service["regions"]

    assert left * kind.capacity * 0.7 >= found.peak
    assert (left - 2) * kind.capacity * 0.7 < found.peak, "and no more servers than that"


@every_kind
def test_the_cost_of_a_million_is_the_price_of_the_servers_for_a_day(kind: ServerKind) -> None:
    found = fleet_plan.plan(kind, KNOWN.service)

    assert found.cost_per_million * 1000 == pytest.approx(found.servers * 24 * kind.price_per_hour)
    assert 0.4 < found.autoscaled_cost_per_million / found.cost_per_million < 1


@every_kind
def test_the_pool_and_the_fleet_are_the_same_calculation(kind: ServerKind) -> None:
    found = fleet_plan.plan(kind, KNOWN.service)
    service = {**KNOWN.service, "gpus": found.servers}

    assert fleet_plan.images_per_day(kind, service) == pytest.approx(KNOWN.service["images_per_day"], rel=0.4)
    assert fleet_plan.images_per_day(kind, service) >= KNOWN.service["images_per_day"]


@every_kind
def test_the_workers_of_a_cell_have_a_connection_for_each_of_its_gateways(kind: ServerKind) -> None:
    found = fleet_plan.plan(kind, KNOWN.service)
    cell = fleet_plan.cell(found)

    assert cell.gateways <= MOST_CONNECTIONS or cell.servers == 1
    assert cell.servers * cell.count >= found.servers


def test_a_hundredfold_load_needs_a_hundredfold_of_each_limit() -> None:
    kind = KNOWN.kind("gpu-segmenter")
    more = dataclasses.replace(
        KNOWN, service={**KNOWN.service, "images_per_day": 100 * KNOWN.service["images_per_day"]}
    )

    assert ratios(kind, more) == pytest.approx(
        {name: 100 * each for name, each in ratios(kind, KNOWN).items()}, rel=0.02
    )


def ratios(kind: ServerKind, known: Assumptions) -> dict[str, float]:
    found = fleet_plan.limits(fleet_plan.plan(kind, known.service), known.service)
    assert [each.ratio for each in found] == sorted((each.ratio for each in found), reverse=True)
    return {each.name: each.ratio for each in found}


def test_the_series_of_a_gateway_are_mostly_the_buckets_of_each_stage_and_model() -> None:
    buckets = len(fleet_plan.STARTERS) * len(STAGES) * (len(SECONDS) + 3)  # the last bucket, the sum and the count

    assert buckets < fleet_plan.series() < 4 * buckets
