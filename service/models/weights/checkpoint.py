"""Weight files: nothing of one is parsed before its bytes have the checksum on the card."""

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

State = dict[str, Tensor]
WRAPPINGS = ("state_dict", "model")  # under which training scripts keep the weights, beside the epoch
SHOWN_KEYS = 4  # of a mismatch's keys; a wrong network has hundreds


def read(card: ModelCard) -> State:
    """The weights by key, in single precision, on the CPU. Raises `CardError`."""
    data = checksums.verified(card)
    try:
        state = PARSERS[card.weights.format](data)
    except Exception as error:  # whatever a parser stumbles over, the file is to blame
        raise CardError(f"{card.name}: {card.weights_path} is no {card.weights.format} file of weights") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def skeleton(network: Network) -> nn.Module:
    """The network on the meta device: random weights that are replaced at once would take seconds to draw.

    One of timm's has its random weights: some of its networks keep tables outside their weights, which are needed.
    Raises `CardError` where there is none of that name, or timm is not installed.
    """
    if network.library == "timm":
        return _of_timm(network)
    try:
        with torch.device("meta"):
            return networks.build(**network.arguments())
    except KeyError as error:
        raise CardError(f"there is no network {network.name}; there are {', '.join(networks.names())}") from error


def check(network: Network) -> None:
    """Raise `CardError` where the network is timm's and timm is not installed."""
    if network.library == "timm":
        try:
            timm_networks.load()
        except ImportError as error:
            raise CardError(f"{network.name} needs timm, which comes with resnest-service[timm]: {error}") from error


def _of_timm(network: Network) -> nn.Module:
    check(network)
    try:
        return timm_networks.build(network.name, network.classes)
    except KeyError as error:
        raise CardError(f"timm has no network {network.name}") from error


def fill(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Make `state` the parameters and buffers of `module`, which may be on the meta device.

    The keys must be the module's own, save that BatchNorm's `num_batches_tracked`, which counts training steps, may
    be missing. Raises `CardError` with the keys that differ.
    """
    expected = module.state_dict()
    missing = [key for key in expected.keys() - state.keys() if not key.endswith(".num_batches_tracked")]
    unexpected = state.keys() - expected.keys()
    if missing or unexpected:
        raise CardError(f"{name}: the weights do not fit the network: {_listed(missing, unexpected)}")
    misshapen = {key: tuple(value.shape) for key, value in state.items() if value.shape != expected[key].shape}
    if misshapen:
        key, shape = min(misshapen.items())
        raise CardError(f"{name}: the weight {key} is {shape}, and the network has {tuple(expected[key].shape)}")
    counters = {key: torch.zeros((), dtype=torch.long) for key in expected.keys() - state.keys()}
    module.load_state_dict({**state, **counters}, assign=True)


def _listed(missing: list[str], unexpected: set[str]) -> str:
    parts = (("missing", sorted(missing)), ("unexpected", sorted(unexpected)))
    return "; ".join(
        f"{len(keys)} {what} ({', '.join(keys[:SHOWN_KEYS])}{', ...' if len(keys) > SHOWN_KEYS else ''})"
        for what, keys in parts
        if keys
    )


def unpickle(file: IO[bytes]) -> State:
    """The tensors of a PyTorch checkpoint, and nothing that runs. Raises as `torch.load` does, and `TypeError`."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    for wrapping in WRAPPINGS:
        if isinstance(state, dict) and isinstance(state.get(wrapping), dict):
            state = state[wrapping]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError("it holds other things than weights by name")
    return dict(state)


def _parse_pickle(data: bytes) -> State:
    return unpickle(io.BytesIO(data))


def _parse_safetensors(data: bytes) -> State:
    state: dict[str, Any] = safetensors.torch.load(data)
    return state


PARSERS: dict[str, Callable[[bytes], State]] = {"safetensors": _parse_safetensors, "pth": _parse_pickle}
