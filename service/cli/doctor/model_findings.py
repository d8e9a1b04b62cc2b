"""Checks of the libraries, the engines, the models, the settings and the keys."""
# ruff: noqa: PLC0415 - torch takes a second to load

import importlib.metadata
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from service.cli.doctor.finding import Finding, counted, ok, problem, warning
from service.config import api_keys, environment
from service.config.api_keys import KeysError
from service.config.environment import SettingsError
from service.config.settings import Settings
from service.models import zoo
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.tasks import task_of

PROJECT: Final = "resnest-service"
NAME: Final = re.compile(r"[^A-Za-z0-9._-]")  # what ends the name in a requirement
EXTRA: Final = re.compile(r"extra == [\"'](\w+)")
NEEDED: Final = ("", "worker")  # the extras without which `run` does not work
NVIDIA: Final = Path("/proc/driver/nvidia/version")


def libraries() -> Iterator[Finding]:
    """Check that the packages that `run` needs are installed."""
    missing = []
    for each in importlib.metadata.requires(PROJECT) or []:
        requirement, _, marker = each.partition(";")
        name = NAME.split(requirement, maxsplit=1)[0]
        extra = EXTRA.search(marker)
        if (extra[1] if extra else "") in NEEDED and "platform" not in marker and not _version(name):
            missing.append(name)
    if missing:
        cure = "pip install 'resnest-service[worker]' --constraint constraints.txt"
        yield problem("packages", f"missing: {', '.join(missing)}", cure)
    else:
        found = (f"{name} {_version(name)}" for name in ("torch", "openvino", "pillow", "numpy") if _version(name))
        yield ok("packages", ", ".join(found))


def gpu(driver: Path = NVIDIA) -> Iterator[Finding]:
    """Check whether PyTorch can use a GPU."""
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield ok("GPU", f"{name}, {free >> 20} of {total >> 20} MiB free, CUDA {torch.version.cuda}")
    elif driver.exists():
        cure = "install a build of PyTorch for CUDA that fits the driver, and check nvidia-smi"
        yield warning("GPU", f"there is an NVIDIA driver, but PyTorch {torch.__version__} finds no GPU", cure)
    else:
        yield ok("GPU", "none; networks run on the processor")


def engine(cards: "list[ModelCard]") -> Iterator[Finding]:
    """Report the engine that each model would get on this host."""
    from service import engines
    from service.engines import graph
    from service.engines.openvino import runtime

    device = graph.device_of(None)
    by_name: dict[str, list[str]] = {}
    for card in cards:
        by_name.setdefault(engines.chosen(card, device), []).append(card.name)
    for name, models in by_name.items():
        yield ok("engine", f"{name} on {device}: {', '.join(models)}")
    if device == "cpu" and not runtime.is_installed():
        yield warning("engine", "OpenVINO is not installed", "install it: PyTorch is several times slower on a CPU")


def store(settings: Settings) -> Iterator[Finding]:
    """Check the cards, the weights and their checksums."""
    try:
        found = zoo.read_nonempty_zoo(settings.model_store, task_of)
        cards = found.select(settings.models) if settings.models else served(settings)
    except CardError as error:
        yield problem("models", str(error), "name the store in RESNEST_MODEL_STORE, and its models in RESNEST_MODELS")
        return
    for name, reason in found.unreadable.items():
        yield problem("models", f"{name}: {reason}", "correct the card, or remove its folder")
    yield ok("models", f"{settings.model_store.resolve()}: {counted(len(found), 'model')}, {len(cards)} to serve")
    if not cards:
        yield problem("weights", "no model has its weights", "resnest-service models pull NAME")
    for card in cards:
        try:
            checksums.verify(card)
            if card.serving.precision == "int8":
                checksums.read_int8(card)
        except CardError as error:
            yield problem("weights", str(error), f"resnest-service models pull {card.name}")
        else:
            yield ok(
                "weights", f"{card.name} {card.version}: {card.weights_path.stat().st_size >> 20} MiB, checksum right"
            )


def served(settings: Settings) -> "list[ModelCard]":
    """Return the cards that would be served and have their weights. Raises `CardError`."""
    found = zoo.read_nonempty_zoo(settings.model_store, task_of)
    cards = found.select(settings.models) if settings.models else [card for card in found.values() if card.is_default]
    return [card for card in cards if settings.models or card.weights_path.is_file()]


def variables(names: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check the names and the values of the settings."""
    cure = "correct it, or unset it; `resnest-service settings` lists all settings"
    for sentence in environment.unknown(names):
        yield problem("settings", sentence, cure)
    try:
        environment.read()
    except SettingsError as error:
        for sentence in str(error).split("; "):
            yield problem("settings", sentence, cure)
        return
    changed = [name for name in environment.names() if name in names]
    yield ok("settings", f"{len(changed)} set: {', '.join(changed)}" if changed else "all have their defaults")


def keys(settings: Settings, today: date | None = None) -> Iterator[Finding]:
    """Check the file of API keys, and whether other hosts could call without a key."""
    try:
        api_keys.check_exposure(settings.host, protected=settings.authenticates_callers, waived=settings.allow_no_keys)
    except KeysError as error:
        yield problem("keys", str(error), "resnest-service keys new NAME >> keys; then set RESNEST_KEYS_FILE")
        return
    if settings.keys_file is None:
        yield ok("keys", "no key file is set" + ("" if settings.authenticates_callers else "; no caller needs a key"))
        return
    try:
        found = api_keys.read(settings.keys_file)
        mode = settings.keys_file.stat().st_mode
    except (KeysError, OSError) as error:
        yield problem("keys", str(error), "correct the file, or set RESNEST_KEYS_FILE to another one")
        return
    expired = [key.name for key in found if key.expires and key.expires < (today or date.today())]
    if expired:
        yield warning("keys", f"expired: {', '.join(expired)}", "make new keys with `resnest-service keys new`")
    if mode & stat.S_IWOTH:
        yield warning("keys", f"{settings.keys_file} can be written by every user", f"chmod o-w {settings.keys_file}")
    yield ok("keys", f"{settings.keys_file}: {counted(len(found), 'key')}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
