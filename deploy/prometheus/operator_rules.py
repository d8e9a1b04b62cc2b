"""Write the rules as a resource of the Prometheus operator, for clusters that have one.

python -m deploy.prometheus.operator_rules > deploy/kubernetes/components/prometheus-operator/rules.yaml
"""

import sys
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).with_name("rules")
HEADER = "# Written by `make objectives` from deploy/prometheus/rules: change those files.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def document() -> str:
    """Return the PrometheusRule with the groups of all files."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "resnest-service"},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.stdout.write(document())
