"""Read weight files and load them into networks. Nothing is parsed before the checksum of the bytes is verified."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from service import networks
from service.models.cards import CardError, ModelCard, Network
from service.models.weights import checksums, fitting, pickles
from service.models.weights.fitting import StateDict
from service.networks import timm_networks


def read(card: ModelCard) -> StateDict:
    """Return the weights by key, in float32, on the CPU. Raises `CardError`."""
    data = checksums.read_verified(card)
    try:
        state = PARSERS[card.weights.format](data, card.network)
    except CardError as error:
        kind = card.weights.format
        raise CardError(f"{card.name}: {card.weights_path} is not a {kind} weight file: {error}") from error
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
        except (RuntimeError, AttributeError, OSError) as error:  # torchvision's operators fit one build of torch
            reason = pickles.first_sentence(error)
            raise CardError(
                f"{network.name} needs timm, whose torchvision does not fit this torch {torch.__version__} ({reason}); "
                "install the torchvision of constraints.txt from where torch came"
            ) from error


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
    different = fitting.difference(state, expected)
    if different:
        raise CardError(f"{name}: {different}")
    counters = {key: torch.zeros((), dtype=torch.long) for key in expected.keys() - state.keys()}
    module.load_state_dict({**state, **counters}, assign=True)


def _parse_pickle(data: bytes, network: Network) -> StateDict:
    """Return the weights of a PyTorch checkpoint that fit the network."""
    return fitting.fit(pickles.load(io.BytesIO(data)), skeleton(network).state_dict(), "official").state


def _parse_safetensors(data: bytes, _network: Network) -> StateDict:
    state: dict[str, Any] = safetensors.torch.load(data)
    return state


PARSERS: dict[str, Callable[[bytes, Network], StateDict]] = {"safetensors": _parse_safetensors, "pth": _parse_pickle}
