"""Reads and changes objects of a cluster through kubectl."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final

import click

TIMEOUT_S: Final = 30


@dataclass(frozen=True)
class Kubectl:
    """The cluster, through kubectl and its current context."""

    namespace: str | None = None

    def run(self, *words: str, timeout_s: float = TIMEOUT_S) -> str:
        """Return what kubectl prints. Raises `click.ClickException` if it fails."""
        where = [f"--namespace={self.namespace}"] if self.namespace else []
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                ["kubectl", *where, *words],  # noqa: S607 - the operator's own kubectl
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise click.ClickException(f"kubectl {words[0]}: {error}") from error
        if done.returncode:
            raise click.ClickException(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def read(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object. Raises `click.ClickException`."""
        return dict(json.loads(self.run("get", kind, name, "--output=json")))

    def patch(self, kind: str, name: str, form: str, changes: Any) -> None:
        """Patch an object; `form` is the type of the patch. Raises `click.ClickException`."""
        self.run("patch", kind, name, f"--type={form}", f"--patch={json.dumps(changes)}")

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, or nothing if there is none of that name. Raises `click.ClickException`."""
        return dict(json.loads(self.run("get", kind, name, "--ignore-not-found", "--output=json") or "{}"))
