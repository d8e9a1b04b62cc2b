"""Write the rules as a resource of the Prometheus operator, for clusters that have one.

    python -m deploy.prometheus.operator_rules > deploy/kubernetes/components/prometheus-operator/rules.yaml

The cluster's Prometheus has no external labels for links, so the addresses of links.env are written into the alerts.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).with_name("rules")
LINKS = Path(__file__).with_name("links.env")
HEADER = "# Written by `make objectives` from deploy/prometheus/rules and links.env: change those files.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def links() -> dict[str, str]:
    """Return the variables of links.env, which say where links begin."""
    lines = LINKS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def document(addresses: Mapping[str, str]) -> str:
    """Return the PrometheusRule with the groups of all files. Its links begin with these addresses of `links`."""
    begins = {f"{{{{ $externalLabels.{name.removesuffix('_URL').lower()} }}}}": url for name, url in addresses.items()}
    groups = []
    for path in sorted(RULES.glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        for label, url in begins.items():
            text = text.replace(label, url)
        groups += yaml.safe_load(text)["groups"]
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "resnest-service"},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.stdout.write(document(links()))
