"""Run a recipe with few photos: in this process, or as a command."""

import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[3] / "model_store" / "recipes"


def run(recipe: str, **options: object) -> str:
    """Call the recipe's `main` with these options in this process, which has torch already, and return its output."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr(sys, "argv", [recipe, *arguments(**options)])
        importlib.import_module(recipe).main()
    return said.getvalue()


def arguments(**options: object) -> list[str]:
    """Return these options as words of a command line."""
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def run_command(recipe: str, **options: object) -> str:
    """Run a recipe as a command, on one thread and with warnings as errors, and return its output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error", str(RECIPES / f"{recipe}.py"), *arguments(**options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def few(photos_folder: Path, folder: Path, **counts: int) -> Path:
    """Return a folder with the test photos and, of each label, `counts` photos of other splits."""
    import photos  # noqa: PLC0415 - only after conftest.py has put the recipes on the path

    rows = photos.read(photos_folder)
    kept = {row.path.name for row in rows if row.split == "test"}
    for split, count in counts.items():
        for label in photos.LABELS:
            kept |= set([row.path.name for row in rows if (row.label, row.split) == (label, split)][:count])
    header, *lines = (photos_folder / "index.csv").read_text().splitlines()
    folder.mkdir()
    (folder / "index.csv").write_text("\n".join([header, *(line for line in lines if line.split(",")[0] in kept)]))
    for path in photos_folder.glob("*.png"):
        if path.name.replace("-mask", "") in kept:
            shutil.copy(path, folder)
    return folder
