"""Give the gateways of components/canary more and more of the traffic, and take it away if their error budget burns.

    kubectl port-forward service/prometheus 9090 &
    python -m deploy.kubernetes.canary_rollout --prometheus http://127.0.0.1:9090

It sets the weights of the HTTPRoute `gateway`, and the number of canary pods before each. While it waits, it asks
Prometheus for the burn rate of the canary's objectives. Until the weight is 0 again, the autoscaler of the other
gateways keeps as many pods as there are, so that they can take all traffic back at once.

Exit codes: 0 done, 1 interrupted or kubectl failed, 5 the weight could not be set back. 3: the budget burnt, or no
canary pod was ready. 4: Prometheus had no answer, or too few requests. After 1, 3 and 4 the weight is 0.
"""

import http.client
import json
import math
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import click

from deploy.kubernetes.kubectl import Kubectl
from deploy.prometheus.objectives import ALERTS, SHORTEST

STABLE, CANARY = "gateway", "gateway-canary"  # the Deployments, and the Services of the same names
ROUTE: Final = "gateway"
JOB: Final = "resnest-gateway-canary"
BREACH, NO_DATA, NOT_BACK = 3, 4, 5
PAGE_BURN: Final = next(pair.factor for pair in ALERTS["page"] if pair.short == SHORTEST)  # at which a page is sent
MISSING_CHECKS: Final = 3  # in a row, after which Prometheus counts as blind
WINDOW_S: Final = 300  # of both recorded rates
BURN: Final = f'max(objective:resnest_burn:rate5m{{job="{JOB}"}})'
REQUESTS: Final = f'sum(job:resnest_predictions:rate5m{{job="{JOB}"}}) * {WINDOW_S}'
TIMEOUT_S: Final = 30
ROLLOUT_S: Final = 600  # for canary pods to be ready.
KEPT: Final = "resnest-service/min-replicas"  # Annotation of the autoscaler: its own least number of pods.
TRIES, PAUSE_S = 3, 2.0  # to set the weight back, and between two of them
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a closed terminal sends the last


class StoppedError(Exception):
    """The rollout must not go on. `code` is the exit code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Look(NamedTuple):
    """What Prometheus has of the canary: predictions in the last five minutes, and the highest burn rate."""

    requests: float | None
    burn: float | None


class Judge(Protocol):
    """What knows how the canary does."""

    def look(self) -> Look:
        """Return what is known now."""


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that scrapes the canary as the job `JOB` and has the project's rules."""

    address: str

    def look(self) -> Look:
        """Return what is recorded now; None for what is not, also if Prometheus does not answer."""
        return Look(self._value(REQUESTS), self._value(BURN))

    def _value(self, query: str) -> float | None:
        url = f"{self.address.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the operator's own address
                result = json.load(answer)["data"]["result"]
            value = float(result[0]["value"][1]) if result else math.nan
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            _say(f"Prometheus does not answer: {error}", err=True)
            return None
        return None if math.isnan(value) else value


@dataclass(frozen=True)
class Bounds:
    """How long each weight is watched, how often, and what the canary must keep, as the options say."""

    wait_s: float
    every_s: float
    most_burn: float
    least_requests: float


class Rollout:
    """The weights of the route and the pods of both Deployments."""

    def __init__(self, kubectl: Kubectl, judge: Judge, bounds: Bounds) -> None:
        self._kubectl = kubectl
        self._judge = judge
        self._bounds = bounds
        self._pods = 0  # that have all of the traffic

    def check(self) -> None:
        """Read what a rollout changes, and change nothing. Raises `click.ClickException` if some of it is missing."""
        weight_changes(self._kubectl.read("httproute", ROUTE), 0)
        self._pods = max(self._ready(STABLE), self._ready(CANARY))

    def step(self, weight: int) -> None:
        """Give the canary `weight` % of the traffic and watch it. Raises `StoppedError` and `click.ClickException`."""
        if weight:
            self._hold()
            self._scale(weight, is_least=True)
            wait = ("rollout", "status", f"deployment/{CANARY}", f"--timeout={ROLLOUT_S}s")
            self._kubectl.run(*wait, timeout_s=ROLLOUT_S + TIMEOUT_S)
            self.set_weight(weight)
            self._watch(weight)
            _say(f"{weight} %: the canary kept its bounds for {self._bounds.wait_s:g} s")
        else:
            self.give_back()
        self._scale(weight, is_least=False)

    def give_back(self) -> None:
        """Give the stable gateways all traffic, and leave their number to the autoscaler."""
        self.set_weight(0)
        self.release()

    def release(self) -> None:
        """Give the autoscaler of the stable gateways its least number of pods of before."""
        before = self._kubectl.find("hpa", STABLE).get("metadata", {}).get("annotations", {}).get(KEPT)
        if before is not None:
            self._bound_autoscaler(int(before), None)

    def set_weight(self, weight: int) -> None:
        """Set the weight of the canary in each rule of the route, and its rest of 100 for the stable gateways."""
        self._kubectl.patch("httproute", ROUTE, "json", weight_changes(self._kubectl.read("httproute", ROUTE), weight))
        _say(f"{weight} % of the traffic goes to {CANARY}")

    def _hold(self) -> None:
        """Keep as many stable pods as all of the traffic needs. Their autoscaler would remove those without traffic."""
        scaler = self._kubectl.find("hpa", STABLE)
        least = scaler.get("spec", {}).get("minReplicas", 1)
        if scaler and least < self._pods:
            self._bound_autoscaler(self._pods, scaler["metadata"].get("annotations", {}).get(KEPT, str(least)))

    def _bound_autoscaler(self, least: int, before: str | None) -> None:
        changes = {"metadata": {"annotations": {KEPT: before}}, "spec": {"minReplicas": least}}
        self._kubectl.patch("hpa", STABLE, "merge", changes)

    def _ready(self, deployment: str) -> int:
        return int(self._kubectl.read("deployment", deployment)["status"].get("readyReplicas", 0))

    def _scale(self, weight: int, *, is_least: bool) -> None:
        """Ask for as many canary pods as its share of the traffic needs, or with `is_least` for no fewer."""
        wanted = max(1, math.ceil(self._pods * weight / 100))
        present = int(self._kubectl.read("deployment", CANARY)["spec"].get("replicas", 1))
        if present < wanted or (present > wanted and not is_least):
            self._kubectl.run("scale", f"deployment/{CANARY}", f"--replicas={wanted}")

    def _require_ready(self, weight: int) -> None:
        """Raise `StoppedError` if no canary pod is ready: the route then answers its share with errors.

        Prometheus does not see those. While kubectl does not answer, Prometheus alone judges.
        """
        with suppress(click.ClickException):
            if self._ready(CANARY) == 0:
                raise StoppedError(BREACH, f"at {weight} % no pod of {CANARY} is ready")

    def _watch(self, weight: int) -> None:
        bounds, missing, end = self._bounds, 0, time.monotonic() + self._bounds.wait_s
        while True:
            left = end - time.monotonic()
            time.sleep(max(0.0, min(bounds.every_s, left)))
            self._require_ready(weight)
            requests, burn = self._judge.look()
            enough = (requests or 0.0) >= bounds.least_requests
            if enough and burn is not None and burn > bounds.most_burn:
                raise StoppedError(BREACH, f"at {weight} % the budget burns at {burn:.3g}, above {bounds.most_burn:g}")
            missing = missing + 1 if requests is None or (enough and burn is None) else 0
            if missing == MISSING_CHECKS:
                raise StoppedError(NO_DATA, f"at {weight} % Prometheus has had nothing of {JOB} for {missing} checks")
            if left > bounds.every_s:
                continue
            if missing or not enough:
                known = "an unknown number of" if requests is None else f"{requests:.0f}"
                wanted = f"{bounds.least_requests:g} in {WINDOW_S} s are needed"
                raise StoppedError(NO_DATA, f"at {weight} % the canary has had {known} predictions; {wanted}")
            return


def weight_changes(route: Mapping[str, Any], canary: int) -> list[dict[str, Any]]:
    """Return the JSON patch that gives the canary `canary` % in each rule of a route.

    Raises `click.ClickException` if a rule does not lead to both Services.
    """
    changes: list[dict[str, Any]] = []
    for number, rule in enumerate(route["spec"]["rules"]):
        places = {each["name"]: index for index, each in enumerate(rule.get("backendRefs", ()))}
        for name, weight in ((STABLE, 100 - canary), (CANARY, canary)):
            if name not in places:
                raise click.ClickException(f"rule {number} of the HTTPRoute {ROUTE} does not lead to {name}")
            at = f"/spec/rules/{number}/backendRefs/{places[name]}"
            changes.append({"op": "test", "path": f"{at}/name", "value": name})
            changes.append({"op": "add", "path": f"{at}/weight", "value": weight})
    return changes


def _weights(_context: click.Context, _option: click.Parameter, value: str) -> list[int]:
    try:
        found = [int(each) for each in value.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 <= each <= 100 for each in found):
        raise click.BadParameter("name whole numbers from 0 to 100, such as 5,25,50,100")
    return found


@click.command()
@click.option("--prometheus", default="http://127.0.0.1:9090", show_default=True, help="Address of Prometheus.")
@click.option("--weights", default="5,25,50,100", show_default=True, callback=_weights, help="Shares in %, in order.")
@click.option("--wait", "wait_s", default=600.0, show_default=True, help="Seconds to watch each share.")
@click.option("--every", "every_s", default=30.0, show_default=True, help="Seconds between two looks.")
@click.option("--most-burn", default=PAGE_BURN, show_default=True, help="Burn rate of any objective, at most.")
@click.option(
    "--least-requests",
    default=200.0,
    show_default=True,
    help="Predictions in five minutes, at least.",
)
@click.option("--namespace", help="Namespace. Default: that of kubectl's context.")
@click.option("--back", is_flag=True, help="Only give all traffic back to the stable gateways.")
def main(prometheus: str, weights: Sequence[int], namespace: str | None, *, back: bool, **bounds: float) -> None:
    """Give the canary a growing share of the traffic, and take it away on a breach or without data."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _interrupt)
    rollout = Rollout(Kubectl(namespace), Prometheus(prometheus), Bounds(**bounds))
    if back:
        rollout.give_back()
        return
    rollout.check()
    try:
        for weight in weights:
            rollout.step(weight)
    except BaseException as error:
        _ignore_signals()
        code = error.code if isinstance(error, StoppedError) else 1
        _say(f"Stopped: {str(error) or 'interrupted'}", err=True)
        _set_back(rollout)
        raise SystemExit(code) from error


def _interrupt(_number: int, _frame: object) -> None:
    """Stop the rollout. No second signal then keeps the weight from being set back."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """Ignore the signals that stop a rollout. A kubectl that is started from now on ignores them too."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _set_back(rollout: Rollout) -> None:
    """Give the canary no traffic. Raises `SystemExit` if that fails."""
    for left in reversed(range(TRIES)):
        try:
            rollout.set_weight(0)
            break
        except click.ClickException as error:
            if not left:
                _say(f"THE CANARY STILL HAS ITS SHARE: {error.message}. Repeat this with --back.", err=True)
                raise SystemExit(NOT_BACK) from error
            time.sleep(PAUSE_S)
    try:
        rollout.release()
    except click.ClickException as error:
        _say(f"The autoscaler {STABLE} keeps its number of pods: {error.message}. Repeat this with --back.", err=True)


def _say(text: str, *, err: bool = False) -> None:
    """Write a line. A terminal that is gone must not keep the weight from being set back."""
    with suppress(OSError):
        click.echo(text, err=err)


if __name__ == "__main__":
    main()
