"""Run a recipe as a command."""

import os
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[3] / "model_store" / "recipes"


def run(recipe: str, **options: object) -> str:
    """Run a recipe with these options, on one thread and with warnings as errors, and return its output."""
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error", str(RECIPES / recipe), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
