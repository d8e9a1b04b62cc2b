"""A simulated day: the rules of Kubernetes hold, and each policy costs and loses what it must."""

from itertools import pairwise

import pytest

from deploy.planning import day_shapes
from deploy.planning.fleet_day import LEAST, SPARE, Day, Scaler, ideal_hours, simulate
from deploy.planning.policies import POLICIES, Fleet, Policy, both, fixed, in_flight, offered, scheduled, utilization
from deploy.planning.server_kinds import ServerKind

GPU = ServerKind("gpu", "made", 0.002, 0.00025, 32, 0.25, 60, 2)
PEAK_SERVERS = 12


def fleet(shape: day_shapes.Shape, kind: ServerKind = GPU) -> Fleet:
    planned = Fleet(kind, 0.0, shape).planned
    return Fleet(kind, PEAK_SERVERS * planned * (1 - 1e-9), shape)


def test_a_fixed_fleet_costs_the_whole_day_and_misses_nothing() -> None:
    day = simulate(fleet(day_shapes.flash_crowd), fixed)

    assert day.server_hours == pytest.approx(24 * PEAK_SERVERS)
    assert (day.changes, day.missed) == (0, 0)


@pytest.mark.parametrize("policy", [in_flight, offered, both])
def test_a_policy_that_counts_demand_costs_less_than_a_fixed_fleet_and_little_more_than_the_ideal(
    policy: Policy,
) -> None:
    its = fleet(day_shapes.day_and_night)
    day = simulate(its, policy)

    assert 0.9 * ideal_hours(its) < day.server_hours < 1.35 * ideal_hours(its) < 0.9 * 24 * PEAK_SERVERS
    assert day.missed < 0.005


def test_utilization_buys_more_servers_than_demand_does() -> None:
    its = fleet(day_shapes.day_and_night)

    assert simulate(its, utilization).server_hours > 1.2 * simulate(its, both).server_hours


def test_a_flash_crowd_is_lost_for_a_cold_start_unless_a_schedule_knows_it() -> None:
    its = fleet(day_shapes.flash_crowd)
    surprised, warned = simulate(its, both), simulate(its, scheduled)

    assert surprised.missed > 10 * warned.missed
    assert warned.server_hours > surprised.server_hours


def test_a_longer_cold_start_misses_more() -> None:
    slow = ServerKind(**{**vars(GPU), "cold_start_s": 300})

    assert (
        simulate(fleet(day_shapes.flash_crowd, slow), both).missed
        > simulate(fleet(day_shapes.flash_crowd), both).missed
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", day_shapes.SHAPES)
def test_the_number_of_servers_stays_within_its_limits_and_changes_as_fast_as_the_autoscaler_may(
    policy: str, shape: str
) -> None:
    day = simulate(fleet(day_shapes.SHAPES[shape]), POLICIES[policy])
    steps = [after - before for before, after in pairwise(counts(day))]

    assert all(LEAST <= count <= SPARE * PEAK_SERVERS for count in counts(day))
    assert max(steps) <= 2
    assert min(steps) >= -1


def counts(day: Day) -> list[int]:
    return [count for _, count in day.servers]


def test_servers_are_kept_for_five_minutes_after_they_were_last_wanted() -> None:
    scaler, current, seconds = Scaler(2, 8), 8, []
    scaler.next(0, current, 8)
    for second in range(15, 900, 15):
        after = scaler.next(second, current, 4)
        if after < current:
            seconds.append(second)
        current = after

    assert seconds[0] > 300
    assert current == 4
    assert all(later - earlier >= 60 for earlier, later in pairwise(seconds))


def test_two_servers_are_added_in_thirty_seconds() -> None:
    scaler, current = Scaler(2, 20), 2
    for second in range(0, 61, 15):
        current = scaler.next(second, current, 20)

    assert current == 8
