"""Convert a checkpoint of any published layout to a safetensors file with the keys of our network.

Every weight file from outside passes through this module.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
from safetensors import SafetensorError

from service.models.cards import CardError, KeyProfile, Network
from service.models.labels import Label
from service.models.weights import checkpoint, class_names, file_kinds, fitting, key_names, pickles
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError
from service.models.weights.fitting import Choice, Reading, StateDict


def convert(
    source: Path,
    network: Network,
    profile: KeyProfile,
    target: Path,
    choice: Choice = Choice(),  # noqa: B008 - immutable
    labels: Sequence[Label] = (),
) -> Reading:
    """Write the weights in `source` that fit `network` to `target`. Return which part was used, without the weights.

    Values and precision do not change, except that weights for images with blue first get red first. Only tensors are
    unpickled. `labels` are compared with class names in `source`.

    Raises `IncompatibleWeightsError` if `source` is damaged, contains code, has no weights with the network's keys and
    shapes, or values that are not finite. Raises `WeightsError` as `check` does, if `target` cannot be written, and
    for labels in another order.
    """
    check(network)
    expected = _expected(network)
    content = _read(source)
    reading = _fit(content, expected, profile, choice)
    class_names.check(content, labels)
    del content  # or each weight stays in memory beside its copy
    found = reading.state
    if profile in key_names.BLUE_FIRST:
        first = key_names.BLUE_FIRST[profile]
        found[first] = found[first].flip(1)
    # safetensors accepts no views, so clone. Clone one by one, so that only one weight is in memory twice.
    state = {key: found.pop(key).detach().clone().contiguous() for key in list(found)}
    _check_values(state)
    try:
        safetensors.torch.save_file(state, target, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{target.parent} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return reading


def check(network: Network) -> None:
    """Raise `WeightsError` if the network is one of timm and timm is not installed."""
    try:
        checkpoint.check(network)
    except CardError as error:
        raise WeightsError(str(error)) from error


def _expected(network: Network) -> StateDict:
    try:
        expected: StateDict = checkpoint.skeleton(network).state_dict()
    except CardError as error:
        raise IncompatibleWeightsError(str(error)) from error
    return expected


def _fit(content: Any, expected: StateDict, profile: KeyProfile, choice: Choice) -> Reading:
    """Return what fits. If nothing does, try the other profiles, so that the error can name the right one."""
    try:
        return fitting.fit(content, expected, profile, choice)
    except IncompatibleWeightsError as error:
        others = [
            other
            for other in get_args(KeyProfile)
            if other != profile and (key_names.PREFIXES[other] or other in key_names.PATTERNS)
        ]
        right = [other for other in others if _fits(content, expected, other, choice)]
        hint = f"; with --keys {right[0]} they fit" if right else ""
        raise IncompatibleWeightsError(f"{error}{hint}") from error


def _fits(content: Any, expected: StateDict, profile: KeyProfile, choice: Choice) -> bool:
    try:
        fitting.fit(content, expected, profile, choice)
    except WeightsError:
        return False
    return True


def _check_values(state: StateDict) -> None:
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise IncompatibleWeightsError(f"{len(bad)} weights have values that are not finite ({', '.join(bad[:4])})")


def _read(source: Path) -> Any:
    try:
        with source.open("rb") as file:
            head = file.read(file_kinds.HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {error.strerror}") from error
    foreign = file_kinds.foreign(head)
    if foreign:
        raise IncompatibleWeightsError(f"it is not a checkpoint but {foreign}")
    if not file_kinds.is_safetensors(head):
        return pickles.load(source)
    try:
        return dict(safetensors.torch.load_file(source))
    except Exception as error:  # SafetensorError and others, for a damaged file
        reason = pickles.first_sentence(error)
        raise IncompatibleWeightsError(f"it is not a checkpoint, or it is damaged: {reason}") from error
