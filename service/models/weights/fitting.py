"""Find a network's weights in what a training script saved: the member, the prefix of its keys, and the last layer.

Nothing is dropped silently: a `Reading` says which part was used and lists the rest.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from service.models.cards import KeyProfile
from service.models.weights import key_names
from service.models.weights.checksums import IncompatibleWeightsError

StateDict = dict[str, Tensor]
MAX_DEPTH: Final = 3  # of members in members
SHOWN_MEMBERS: Final = 20  # in an error message
SHOWN_KEYS: Final = 4  # mismatched keys in an error message; a wrong network has hundreds
COUNTER: Final = ".num_batches_tracked"  # BatchNorm's count of training steps, which may be missing
AVERAGED: Final = re.compile(r"(?<![a-z])(ema|swa|averaged?)(?![a-z])", re.IGNORECASE)
OUR_HEADS: Final = "box_heads."  # the keys of a detector of this project
HEADS: Final = re.compile(r"(^|\.)(roi_heads?|box_heads)\.")
# Keys beside a network's own that do not change its output: (pattern, what they are).
UNNEEDED: Final = (
    (re.compile(r"(^|\.)(\w*loss\w*|criterion\w*)(\.|$)", re.IGNORECASE), "part of a loss"),
    (re.compile(r"^(train|val|test|valid)\w*_(acc\w*|f1\w*|metrics?|auroc|iou)\.|^metrics?\."), "part of a metric"),
    (re.compile(r"(^|\.)total_(ops|params)$"), "a count of operations"),
    (re.compile(r"^proposal_generator\.anchor_generator\.cell_anchors\.\d$"), "anchors, which are computed"),
    (re.compile(r"^(n_averaged|steps|num_updates|decay)$"), "a count of the averaging"),
)


@dataclass(frozen=True)
class Choice:
    """Which weights to read if a file has several: the averaged ones (EMA), or the `member` of this name."""

    ema: bool = False
    member: str | None = None


@dataclass(frozen=True)
class Reading:
    """The weights by the network's keys, the part of the file that they are, and every other part with its kind."""

    state: StateDict
    used: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """Weights of the file behind one prefix, by the network's keys. Without a `difference` they fit the network."""

    member: str
    prefix: str
    state: StateDict
    unneeded: tuple[str, ...]
    difference: str

    @property
    def name(self) -> str:
        return "/".join(part for part in (self.member, self.prefix.rstrip(".")) if part)

    @property
    def used(self) -> str:
        place = self.member or "the weights"
        return f"{place} without the prefix {self.prefix!r}" if self.prefix else place


def fit(content: Any, expected: Mapping[str, Tensor], profile: KeyProfile, choice: Choice = Choice()) -> Reading:
    """Return the weights in `content` whose keys and shapes are those of `expected`, a network's state dict.

    They may be in any member of nested mappings, behind a prefix that all share, and have one Linear of a Sequential as
    the last layer. Raises `IncompatibleWeightsError` with the differences if nothing fits, and with the names of the
    members if several different ones fit.
    """
    candidates = list(_candidates(content, expected, profile))
    fitting = [each for each in candidates if not each.difference]
    if not fitting:
        raise IncompatibleWeightsError(_nothing_fits(content, candidates, expected))
    chosen = _chosen(fitting, choice)
    others = [f"{each.name} (other weights that fit)" for each in fitting if each is not chosen]
    named = {each.member for each in fitting}
    rest = [f"{name} ({kind})" for name, kind in _members(content) if not _is_part_of(name, named)]
    return Reading(chosen.state, chosen.used, (*others, *chosen.unneeded, *rest))


def difference(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return how the keys, or else the shapes, of weights differ from a network's; an empty string if they fit."""
    missing = [key for key in expected.keys() - state.keys() if not key.endswith(COUNTER)]
    unexpected = list(state.keys() - expected.keys())
    if missing or unexpected:
        parts = (("missing", sorted(missing)), ("unexpected", sorted(unexpected)))
        listed = "; ".join(f"{len(keys)} {what} ({_shown(keys)})" for what, keys in parts if keys)
        return f"the weights do not fit the network: {listed}"
    misshapen = {key: tuple(value.shape) for key, value in state.items() if value.shape != expected[key].shape}
    if not misshapen:
        return ""
    key, shape = min(misshapen.items())
    return f"the weight {key} is {shape}, but the network has {tuple(expected[key].shape)}"


def _shown(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN_KEYS])}{', ...' if len(names) > SHOWN_KEYS else ''}"


def _chosen(fitting: Sequence[_Candidate], choice: Choice) -> _Candidate:
    names = ", ".join(each.name or "the top level" for each in fitting)
    if choice.member is not None:
        pool = [each for each in fitting if choice.member in (each.name, each.member)]
        if not pool:
            raise IncompatibleWeightsError(f"no member {choice.member} fits the network; these fit: {names}")
    else:
        averaged = [each for each in fitting if AVERAGED.search(each.name)]
        if choice.ema and not averaged:
            raise IncompatibleWeightsError(f"it has no averaged weights (EMA); these fit the network: {names}")
        plain = [each for each in fitting if each not in averaged]
        pool = averaged if choice.ema else plain or averaged
    first = pool[0]
    if any(not _equal(first.state, each.state) for each in pool[1:]):
        raise IncompatibleWeightsError(f"different weights fit the network: {names}; choose with --member")
    return first


def _equal(one: StateDict, other: StateDict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def _candidates(content: Any, expected: Mapping[str, Tensor], profile: KeyProfile) -> Iterator[_Candidate]:
    needed = [key for key in expected if not key.endswith(COUNTER)]
    for member, tensors in _state_dicts(content):
        plain = {key_names.without_wrappers(key): value for key, value in tensors.items()}
        counts = _prefixes(plain, expected, profile)
        large = [prefix for prefix, count in counts.items() if 2 * count >= len(needed)]
        for prefix in large or [max(counts, key=counts.__getitem__, default="")]:
            yield _candidate(member, prefix, plain, expected, profile, [each for each in large if each != prefix])


def _prefixes(keys: Mapping[str, Tensor], expected: Mapping[str, Tensor], profile: KeyProfile) -> Counter[str]:
    """Return for each prefix how many of the network's keys are behind it. A key counts for its shortest prefix."""
    counts: Counter[str] = Counter()
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts)):
            own = ".".join(parts[start:])
            if key_names.renamed(own, profile) in expected:
                counts[key[: len(key) - len(own)]] += 1
                break
    return counts


def _candidate(
    member: str,
    prefix: str,
    keys: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    profile: KeyProfile,
    others: Sequence[str],
) -> _Candidate:
    longer = tuple(each for each in others if each.startswith(prefix))  # other weights, as `ema.` beside no prefix
    inside = [key for key in keys if key.startswith(prefix) and not key.startswith(longer)]
    outside = [key for key in keys if not key.startswith((prefix, *others))]
    translated = key_names.translated([key[len(prefix) :] for key in inside], profile)
    state = _with_plain_head({translated[key[len(prefix) :]]: keys[key] for key in inside}, expected)
    unneeded = {key: what for key in state.keys() - expected.keys() if (what := _unneeded(key))}
    unneeded |= {key: what for key in outside if (what := _unneeded(key))}
    state = {key: value for key, value in state.items() if key not in unneeded}
    strangers = {key: keys[key] for key in outside if key not in unneeded}
    return _Candidate(
        member,
        prefix,
        state,
        tuple(f"{key} ({what})" for key, what in sorted(unneeded.items())),
        difference({**strangers, **state}, expected),
    )


def _unneeded(key: str) -> str | None:
    return next((what for pattern, what in UNNEEDED if pattern.search(key)), None)


def _with_plain_head(state: StateDict, expected: Mapping[str, Tensor]) -> StateDict:
    """Return the state with the one Linear of a Sequential, as `fc.1.weight`, under the layer's own name."""
    renamed: dict[str, str] = {}
    for layer in {key.rpartition(".")[0] for key in expected.keys() - state.keys()}:
        found = [key for key in state if key.startswith(f"{layer}.") and key not in expected]
        inner = {key[len(layer) + 1 :].rpartition(".")[0] for key in found}
        own = {f"{layer}.{key.rpartition('.')[2]}" for key in found}
        is_one = len(inner) == 1 and "." not in (*inner,)[0] and (*inner,)[0]
        if is_one and own == {key for key in expected if key.rpartition(".")[0] == layer}:
            renamed |= {key: f"{layer}.{key.rpartition('.')[2]}" for key in found}
    return {renamed.get(key, key): value for key, value in state.items()}


def _state_dicts(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, StateDict]]:
    """Yield each mapping of names to tensors, at any place, with the names on the way to it."""
    if not _is_mapping(content) or len(path) > MAX_DEPTH:
        return
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield "/".join(path), tensors
    for key, value in content.items():
        yield from _state_dicts(value, (*path, key))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _members(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the members that are not tensors, with what they are."""
    if not _is_mapping(content):
        return
    for key, value in content.items():
        if isinstance(value, Tensor):
            continue
        nested = _is_mapping(value) and any(True for _ in _state_dicts(value)) and len(value) > 0
        yield key, _kind(value)
        if nested and not any(isinstance(each, Tensor) for each in value.values()):
            yield from ((f"{key}/{inner}", kind) for inner, kind in _members(value))


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        tensors = sum(isinstance(each, Tensor) for each in value.values())
        return f"{tensors} tensors" if tensors else f"a mapping of {len(value)}"
    return str(getattr(type(value), "kind", type(value).__name__))


def _is_part_of(name: str, members: set[str]) -> bool:
    """Return whether a member is one of these or on the way to one."""
    return any(each == name or each.startswith(f"{name}/") for each in members)


def _is_backbone_of_detector(content: Any, expected: Mapping[str, Tensor]) -> bool:
    """Return whether a detector is expected, and no key of the content is one of a detector's heads."""
    keys = [key for _, tensors in _state_dicts(content) for key in tensors]
    return any(key.startswith(OUR_HEADS) for key in expected) and not any(HEADS.search(key) for key in keys)


def _nothing_fits(content: Any, candidates: Sequence[_Candidate], expected: Mapping[str, Tensor]) -> str:
    members = list(_members(content))
    if not candidates:
        listed = ", ".join(f"{name} ({kind})" for name, kind in members[:SHOWN_MEMBERS])
        return f"it holds values that are not tensors by name: {listed or f'a {type(content).__name__}'}"
    if _is_backbone_of_detector(content, expected):
        return (
            "it is not a detector: it has no heads, whose keys begin with roi_heads. or roi_head.; a backbone that "
            "was trained on ImageNet detects nothing"
        )
    nearest = max(candidates, key=lambda each: len(each.state.keys() & expected.keys()))
    others = [f"{name} ({kind})" for name, kind in members if not _is_part_of(name, {nearest.member})]
    where = f"{nearest.used}: " if nearest.name else ""
    return f"{where}{nearest.difference}" + (
        f"; values that are not tensors, or are others: {', '.join(others[:SHOWN_MEMBERS])}" if others else ""
    )
