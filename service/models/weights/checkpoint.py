"""Read weight files and load them into networks. Nothing is parsed before the checksum of the bytes is verified."""

import io
from collections.abc import Callable, Mapping
from typing import IO, Any

import safetensors.torch
import torch
from torch import Tensor, nn

from service import networks
from service.models.cards import CardError, ModelCard, Network
from service.models.weights import checksums
from service.networks import timm_networks

StateDict = dict[str, Tensor]
WRAPPER_KEYS = ("state_dict", "model")  # keys under which training scripts store the weights, beside the epoch
SHOWN_KEYS = 4  # mismatched keys in an error message; a wrong network has hundreds


def read(card: ModelCard) -> StateDict:
    """Return the weights by key, in float32, on the CPU. Raises `CardError`."""
    data = checksums.read_verified(card)
    try:
        state = PARSERS[card.weights.format](data)
    except Exception as error:  # a parser can fail in any way on a bad file
        raise CardError(f"{card.name}: {card.weights_path} is not a {card.weights.format} weight file") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def skeleton(network: Network) -> nn.Module:
    """Return the network without weights, on the meta device: random initialisation would take seconds.

    A network of timm has random weights on the CPU, because some of them compute tables that are not in the state dict.
    Raises `CardError` if there is no network of that name, or timm is not installed.
    """
    if network.library == "timm":
        return _timm_network(network)
    try:
        with torch.device("meta"):
            return networks.build(**network.arguments())
    except KeyError as error:
        raise CardError(f"there is no network {network.name}; there are {', '.join(networks.names())}") from error


def check(network: Network) -> None:
    """Raise `CardError` if the network is one of timm and timm is not installed."""
    if network.library == "timm":
        try:
            timm_networks.load()
        except ImportError as error:
            raise CardError(f"{network.name} needs timm, which comes with resnest-service[timm]: {error}") from error


def _timm_network(network: Network) -> nn.Module:
    check(network)
    try:
        return timm_networks.build(network.name, network.classes)
    except KeyError as error:
        raise CardError(f"timm has no network {network.name}") from error


def load_weights(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Assign `state` to the parameters and buffers of `module`, which may be on the meta device.

    The keys must match. Only BatchNorm's `num_batches_tracked`, a count of training steps, may be missing. Raises
    `CardError` with the keys or the shapes that differ.
    """
    expected = module.state_dict()
    missing = [key for key in expected.keys() - state.keys() if not key.endswith(".num_batches_tracked")]
    unexpected = state.keys() - expected.keys()
    if missing or unexpected:
        raise CardError(f"{name}: the weights do not fit the network: {_listed(missing, unexpected)}")
    misshapen = {key: tuple(value.shape) for key, value in state.items() if value.shape != expected[key].shape}
    if misshapen:
        key, shape = min(misshapen.items())
        raise CardError(f"{name}: the weight {key} is {shape}, but the network has {tuple(expected[key].shape)}")
    counters = {key: torch.zeros((), dtype=torch.long) for key in expected.keys() - state.keys()}
    module.load_state_dict({**state, **counters}, assign=True)


def _listed(missing: list[str], unexpected: set[str]) -> str:
    parts = (("missing", sorted(missing)), ("unexpected", sorted(unexpected)))
    return "; ".join(
        f"{len(keys)} {what} ({', '.join(keys[:SHOWN_KEYS])}{', ...' if len(keys) > SHOWN_KEYS else ''})"
        for what, keys in parts
        if keys
    )


def unpickle(file: IO[bytes]) -> StateDict:
    """Return the tensors of a PyTorch checkpoint; no code in it runs. Raises as `torch.load` does, and `TypeError`."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    for wrapper in WRAPPER_KEYS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError("it holds values that are not tensors")
    return dict(state)


def _parse_pickle(data: bytes) -> StateDict:
    return unpickle(io.BytesIO(data))


def _parse_safetensors(data: bytes) -> StateDict:
    state: dict[str, Any] = safetensors.torch.load(data)
    return state


PARSERS: dict[str, Callable[[bytes], StateDict]] = {"safetensors": _parse_safetensors, "pth": _parse_pickle}
