"""The model store of commands and settings that name none."""

from pathlib import Path
from typing import Final

NAME: Final = "model_store"  # in the working folder, and in the repository
INSTALLED: Final = "resnest_model_store"  # beside the installed package: the wheels put cards and starter models there
PACKAGES: Final = Path(__file__).parents[2]


def default_store(packages: Path = PACKAGES) -> Path:
    """Return the first folder that exists: `model_store` here, then in the checkout, then the installed one.

    `packages` is the folder of the package `service`: a checkout, or `site-packages`. If there is none, return
    `model_store`.
    """
    stores = (Path(NAME), packages / NAME, packages / INSTALLED)
    return next((store for store in stores if store.is_dir()), Path(NAME))


def is_installed(store: Path) -> bool:
    """Return whether the store came with the installed packages."""
    return store.name == INSTALLED
