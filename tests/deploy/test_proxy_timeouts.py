"""No proxy gives up on a response that a card of the store may still bring: each timeout against the deadlines."""

import re
from functools import cache
from typing import Final

from service.config.settings import Settings
from service.models import cards
from service.tasks import TASKS
from service.tasks.segmentation.segment import MULTISCALE, SEGMENT
from tests.deploy.programs import TOP
from tests.deploy.test_components import one, with_component

PROXIES: Final = TOP / "deploy/proxies"
OTHERS: Final = "/v1/classify"
# The timeouts that a caller meets on these paths, in seconds, by proxy.
Timeouts = dict[str, dict[str, float]]


@cache
def longest_deadlines() -> dict[str, float]:
    """Return the longest deadline of the store's cards in seconds: of `quality=best`, and of everything else."""
    by_path = {SEGMENT.path: 0.0, OTHERS: 0.0}
    for path in (TOP / "model_store").glob("*/card.toml"):
        card = cards.read(path.parent)
        for operation in TASKS[card.task].operations_of(card):
            route = SEGMENT.path if operation.name == MULTISCALE else OTHERS
            by_path[route] = max(by_path[route], operation.deadline_s(card))
    return by_path


def seconds(text: str) -> float:
    assert text.endswith("s"), text
    return float(text.removesuffix("s"))


def nginx() -> dict[str, float]:
    text = (PROXIES / "nginx.conf").read_text(encoding="utf-8")
    own = dict(re.findall(r"location = (\S+) \{ proxy_read_timeout (\S+); proxy_pass", text))
    (others,) = re.findall(r"^ {4}proxy_read_timeout (\S+);", text, re.MULTILINE)
    assert own[SEGMENT.path] == own[f"/vision{SEGMENT.path}"]
    return {SEGMENT.path: seconds(own[SEGMENT.path]), OTHERS: seconds(others)}


def caddy() -> dict[str, float]:
    text = (PROXIES / "Caddyfile").read_text(encoding="utf-8")
    found = dict(re.findall(r"reverse_proxy (/\S+ )?127.*?response_header_timeout (\S+)", text, re.DOTALL))
    return {SEGMENT.path: seconds(found[f"{SEGMENT.path} "]), OTHERS: seconds(found[""])}


def httproute() -> dict[str, float]:
    rules = one(with_component("gateway-api"), "HTTPRoute", "gateway")["spec"]["rules"]
    found = {rule["matches"][0]["path"]["value"]: seconds(rule["timeouts"]["backendRequest"]) for rule in rules}
    assert all(seconds(rule["timeouts"]["request"]) > seconds(rule["timeouts"]["backendRequest"]) for rule in rules)
    return {SEGMENT.path: found[SEGMENT.path], OTHERS: found["/"]}


def ingress() -> dict[str, float]:
    annotations = one(with_component("ingress"), "Ingress", "gateway")["metadata"]["annotations"]
    timeout = float(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"])
    return {SEGMENT.path: timeout, OTHERS: timeout}


def test_each_proxy_waits_longer_than_any_card_of_the_store_takes() -> None:
    found: Timeouts = {each.__name__: each() for each in (nginx, caddy, httproute, ingress)}

    assert Settings.model_fields["max_request_timeout_s"].default < longest_deadlines()[OTHERS]
    for proxy, timeouts in found.items():
        for path, deadline in longest_deadlines().items():
            assert timeouts[path] > deadline, f"{proxy}: {path} has a deadline of {deadline:g} s"


def test_the_page_about_proxies_names_the_longest_deadlines() -> None:
    page = (TOP / "docs/operations/proxy.md").read_text(encoding="utf-8")

    assert f"A card's deadline is at most {longest_deadlines()[OTHERS]:g} s." in page
    assert f"at most {longest_deadlines()[SEGMENT.path]:g} s." in page
    assert f"{nginx()[OTHERS]:g} s, and {nginx()[SEGMENT.path]:g} s for `{SEGMENT.path}`" in page
