"""The numbers of a deployment follow from the capacity of a model server."""

import random

import pytest

from service.measure.capacity.sizing import Fleet, Measured, in_flight, size

CPU = Measured(images_per_s=53.0, in_flight=2.2, gateway_core_s=0.0039)
GPU = Measured(images_per_s=3200.0, in_flight=16.0, gateway_core_s=0.0039)


def simulated(rate: float, batch_s: float, image_s: float, most: int, images: int = 40_000) -> tuple[float, float]:
    """Return the mean number of images in flight and their mean time, of one server with batches and random arrivals.

    A batch begins as soon as the server is idle, with the images that have arrived.
    """
    source, now, arrivals = random.Random(1), 0.0, []
    for _ in range(images):
        now += source.expovariate(rate)
        arrivals.append(now)
    free = total = 0.0
    first = 0
    while first < images:
        start, last = max(free, arrivals[first]), first
        while last < images and arrivals[last] <= start and last - first < most:
            last += 1
        free = start + batch_s + image_s * (last - first)
        total += sum(free - each for each in arrivals[first:last])
        first = last
    return total / free, total / images


@pytest.mark.parametrize(("batch_s", "image_s", "most"), [(0.003, 0.0185, 8), (0.002, 0.00025, 32), (0.005, 0.0044, 8)])
def test_images_in_flight_are_those_of_a_simulated_server(batch_s: float, image_s: float, most: int) -> None:
    rate = 0.7 * most / (batch_s + image_s * most)
    counted, time_s = simulated(rate, batch_s, image_s, most)

    assert in_flight(rate, queue_ms=1e3 * time_s - 1, inference_ms=1) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("measured", [CPU, GPU])
@pytest.mark.parametrize("fleet", [Fleet(8, 2, 0.5), Fleet(1, 2, 0.1), Fleet(1000, 20, 0.25)])
def test_the_fewest_gateways_admit_twice_what_workers_are_scaled_for_and_all_that_they_answer_in_time(
    measured: Measured, fleet: Fleet
) -> None:
    sized = size(measured, fleet)
    slots = fleet.min_gateways * sized.max_in_flight

    assert slots >= 2 * fleet.max_workers * sized.in_flight_target
    assert slots >= fleet.max_workers * measured.images_per_s * fleet.p95_s
    assert sized.max_in_flight >= 64


@pytest.mark.parametrize("measured", [CPU, GPU])
def test_the_most_gateways_have_the_cores_for_all_workers_at_their_capacity(measured: Measured) -> None:
    fleet = Fleet(8, 2, 0.5)
    most = size(measured, fleet).max_gateways

    assert most is not None
    assert measured.gateway_core_s is not None
    assert most * 2.0 * 0.6 >= fleet.max_workers * measured.images_per_s * measured.gateway_core_s
    assert most > fleet.min_gateways


def test_the_most_gateways_stay_open_where_their_cpu_time_was_not_seen() -> None:
    assert size(Measured(50, 3, None), Fleet(8, 2, 0.5)).max_gateways is None


def test_a_target_is_never_below_one_image() -> None:
    assert size(Measured(10, 0.2, None), Fleet(2, 2, 0.5)).in_flight_target == 1
