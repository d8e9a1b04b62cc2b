"""Convert a checkpoint of any published layout to a safetensors file with the keys of our network.

Every weight file from outside passes through this module.
"""

import pickle
import re
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from service.models.cards import CardError, KeyProfile, Network
from service.models.weights import checkpoint, key_names
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError

FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # the refused object in an error of torch.load(weights_only=True)


def convert(source: Path, network: Network, profile: KeyProfile, target: Path) -> None:
    """Write the checkpoint `source`, which must fit `network`, to `target`. Values and precision do not change.

    Only tensors are unpickled. Raises `IncompatibleWeightsError` if `source` is damaged, contains code, has other keys
    or shapes than the network, or values that are not finite. Raises `WeightsError` as `check` does, and if `target`
    cannot be written.
    """
    found = _read(source)
    renamed = key_names.translated(found, profile)
    # safetensors accepts no views, so clone. Clone one by one, so that only one weight is in memory twice.
    state = {renamed[key]: found.pop(key).detach().clone().contiguous() for key in list(found)}
    _check_fits(state, network)
    try:
        safetensors.torch.save_file(state, target, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{target.parent} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def check(network: Network) -> None:
    """Raise `WeightsError` if the network is one of timm and timm is not installed."""
    try:
        checkpoint.check(network)
    except CardError as error:
        raise WeightsError(str(error)) from error


def _check_fits(state: checkpoint.StateDict, network: Network) -> None:
    check(network)
    try:
        checkpoint.load_weights(checkpoint.skeleton(network), state, network.name)
    except CardError as error:
        raise IncompatibleWeightsError(str(error)) from error
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise IncompatibleWeightsError(f"{len(bad)} weights have values that are not finite ({', '.join(bad[:4])})")


def _read(source: Path) -> checkpoint.StateDict:
    try:
        file = source.open("rb")
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {error.strerror}") from error
    try:
        with file:
            if file.read(9)[8:] == b"{":  # safetensors: 8 bytes with the length of the JSON header, then the header
                return dict(safetensors.torch.load_file(source))
            file.seek(0)
            return checkpoint.unpickle(file)
    except pickle.UnpicklingError as error:
        foreign = FORBIDDEN.search(str(error))
        if foreign:
            message = f"the checkpoint holds more than tensors ({foreign[1]}), which may be code; it was not run"
            raise IncompatibleWeightsError(message) from error
        raise IncompatibleWeightsError("it is not a PyTorch checkpoint") from error
    except Exception as error:  # a pickle is a program, so a damaged one can fail in any way
        raise IncompatibleWeightsError(f"it is not a checkpoint, or it is damaged: {_first_sentence(error)}") from error


def _first_sentence(error: Exception) -> str:
    return (str(error).splitlines() or ["unexpected end of file"])[0].partition(". ")[0][:200]
