"""A checkpoint of any published layout to a safetensors file with our network's keys: the one way by which foreign
weights come in.
"""

import pickle
import re
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from service.models.cards import CardError, KeyProfile, Network
from service.models.weights import checkpoint, key_names
from service.models.weights.checksums import UnfitError, WeightsError

FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # in the message of torch.load(weights_only=True)


def convert(source: Path, network: Network, profile: KeyProfile, target: Path) -> None:
    """Write the checkpoint `source`, which must fit `network`, to `target`. Numbers and precision stay as they are.

    Nothing but tensors is unpickled. Raises `UnfitError` where `source` is damaged, holds code, has keys or shapes
    that are not the network's or numbers that are not finite, and `WeightsError` as `check` does, and where `target`
    cannot be written.
    """
    found = _read(source)
    renamed = key_names.translated(found, profile)
    # Clones, because safetensors takes no views; one by one, so that no weight is in memory twice for long.
    state = {renamed[key]: found.pop(key).detach().clone().contiguous() for key in list(found)}
    _hold(state, network)
    try:
        safetensors.torch.save_file(state, target, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{target.parent} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def check(network: Network) -> None:
    """Raise `WeightsError` where the network is timm's and timm is not installed."""
    try:
        checkpoint.check(network)
    except CardError as error:
        raise WeightsError(str(error)) from error


def _hold(state: checkpoint.State, network: Network) -> None:
    check(network)
    try:
        checkpoint.fill(checkpoint.skeleton(network), state, network.name)
    except CardError as error:
        raise UnfitError(str(error)) from error
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise UnfitError(f"{len(broken)} weights hold numbers that are not finite ({', '.join(broken[:4])})")


def _read(source: Path) -> checkpoint.State:
    try:
        file = source.open("rb")
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {error.strerror}") from error
    try:
        with file:
            if file.read(9)[8:] == b"{":  # safetensors: the length of a JSON header in 8 bytes, then the header
                return dict(safetensors.torch.load_file(source))
            file.seek(0)
            return checkpoint.unpickle(file)
    except pickle.UnpicklingError as error:
        foreign = FORBIDDEN.search(str(error))
        if foreign:
            told = f"the checkpoint holds more than tensors ({foreign[1]}), which may be code; it was not run"
            raise UnfitError(told) from error
        raise UnfitError("it is no checkpoint of PyTorch's") from error
    except Exception as error:  # a damaged pickle, which is a program, can fail in any way
        raise UnfitError(f"it is no checkpoint, or a damaged one: {_first_sentence(error)}") from error


def _first_sentence(error: Exception) -> str:
    return (str(error).splitlines() or ["it ends too early"])[0].partition(". ")[0][:200]
