"""Write a component that names every image of an overlay by its digest, as registries answer now.

    python -m deploy.kubernetes.image_digests OVERLAY INTO

A tag can be moved, and a node that has an image never pulls that tag again. Needs the programs kustomize and skopeo.
Push your own images first, and name them in the overlay: a registry knows only what was pushed.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

TIMEOUT_S = 120
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@click.command()
@click.argument("overlay", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("into", type=click.Path(file_okay=False, path_type=Path))
def main(overlay: Path, into: Path) -> None:
    """Write a component into the folder INTO that names the images of OVERLAY by digest. Name it last in an overlay."""
    names = sorted({name for manifest in rendered(overlay) for name in images(manifest) if "@" not in name})
    repeated = [name for name, count in Counter(without_tag(name) for name in names).items() if count > 1]
    if repeated:  # kustomize finds an image by its name alone, so both would get the digest of one
        raise click.ClickException(f"{repeated[0]} has several tags; name its digests in the overlay yourself")
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": without_tag(name), "digest": digest(name)} for name in names],
    }
    into.mkdir(parents=True, exist_ok=True)
    heading = "# Written by `python -m deploy.kubernetes.image_digests`.\n"
    (into / "kustomization.yaml").write_text(heading + yaml.safe_dump(component, sort_keys=False), encoding="utf-8")


def rendered(overlay: Path) -> list[dict[str, Any]]:
    """Return the manifests of an overlay. Raises `click.ClickException`."""
    return [each for each in yaml.safe_load_all(_run("kustomize", "build", str(overlay))) if each]


def images(value: Any) -> Iterator[str]:
    """Yield the names of all container images in a manifest."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"containers", "initContainers"} and isinstance(inner, list):
                yield from (each["image"] for each in inner)
            else:
                yield from images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images(inner)


def without_tag(image: str) -> str:
    """Return the name of an image as kustomize finds it. Its registry may have a port."""
    folder, slash, name = image.rpartition("/")
    return folder + slash + name.partition(":")[0]


def digest(image: str) -> str:
    """Return the digest of an image, as its registry says. Raises `click.ClickException`."""
    found = _run("skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{image}").strip()
    if not DIGEST.fullmatch(found):
        raise click.ClickException(f"the registry of {image} answers {found!r}, which is no digest")
    return found


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)  # noqa: S603
    except FileNotFoundError as error:
        raise click.ClickException(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"{' '.join(command)}: no answer within {TIMEOUT_S} s") from error
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
