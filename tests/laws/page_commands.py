"""The commands that pages show, which test runs them, or why none does."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.laws.sources import ROOT

SHELLS: Final = ("sh", "bash", "console")
FENCED: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED: Final = re.compile(r"(?:^|\n\n)((?:    \S.*\n?|    \n)+)")
NO_COMMAND: Final = re.compile(r"\[\w+\]$|\w+ = |[A-Z_]+=\S+$")  # TOML, and files of variables

# The test that runs a page's commands.
COMMANDS_TEST: Final = "tests/e2e/test_page_commands.py"
RUN_BY: Final = {
    "README.md": COMMANDS_TEST,
    "docs/api.md": "tests/gateway/behaviour/test_api_page.py",
    "docs/cli.md": COMMANDS_TEST,
    "docs/models.md": COMMANDS_TEST,
    "docs/operations/configure.md": COMMANDS_TEST,
    "docs/operations/incident.md": "tests/e2e/test_runbooks.py",
    "docs/operations/secure.md": COMMANDS_TEST,
    "docs/operations/weights.md": "tests/deploy/test_fetched_weights.py",
}

# Commands that those tests leave out, and the commands of all other pages: a pattern, and the test or the reason.
LEFT_OUT: Final = {
    r"make (run|check)$": "CI is `make test`, which does the same; `resnest-service run` is in tests/e2e",
    r"make (stress|bench-gpu)|(\w+=\S+ )?python -m benchmarks\.": "takes minutes; tests/benchmarks tests the programs",
    r"make verify-cluster|\.venv/bin/python -m tests\.cluster\.": "takes 14 minutes; it is a test itself",
    r"make test ARGS=": "names tests, which the law of the paths checks",
    r"\. \.venv/bin/activate": "changes a shell",
    r"\.venv/bin/python -m tests\.laws\.prose": "tests/laws/test_prose.py does the same",
    r"\.venv/bin/(python -m )?pip install": "downloads; `make test` installs the same extras",
    r"cd dist|pip install --constraint": "tests/deploy/test_distribution.py",
    r"pip (install|wheel) .*clients/python": "tests/clients/python/test_version.py builds and installs the wheel",
    r"cd clients/javascript|npm ": "tests/clients/javascript/test_package.py",
    r"RESNEST_\w+=\S+ make run": "tests/e2e/clients runs the service with these variables",
    r"python3 -m http\.server": "tests/e2e/clients/test_example_page.py serves the same folder",
    r"docker (build|compose)": "needs Docker; `make image-check` builds and starts the same",
    r"\w+\(\) \{ .*kubectl ": "needs a cluster; tests/deploy/test_runbooks.py lets kubectl parse its commands",
    r"kubectl ": "needs a cluster; tests/deploy/test_kubernetes.py renders the same manifests",
    r"logs \| jq": "`logs` is your command; tests/e2e/test_logs.py checks the members that are selected",
    r"printf .* > traffic\.toml|resnest-service run --traffic-file|curl -s \S+/metrics": "tests/e2e/test_rollout.py",
    r"cp model_store/example\.jpg": "the test of the page has an image of its own",
    r"resnest-service run( |$)": "runs until Ctrl-C; tests/e2e starts it with the same options",
    r"resnest-service models (pull|import|remove|verify) ": "needs published weights; tests/cli/models",
    r"resnest-service evaluate ": "needs data sets; tests/cli/accuracy/test_evaluate.py and tests/measure/accuracy",
    r"resnest-service quantise ": "tests/e2e/test_own_models.py and tests/cli/accuracy/test_quantise.py",
    r"resnest-service bench ": "takes minutes; tests/cli/load/test_bench.py",
    r"resnest-service capacity ": "takes minutes; tests/cli/load/test_capacity.py",
    r"resnest-service train |curl -F .*/classify\?model=mine": "tests/e2e/test_own_labels.py",
    r"resnest-service models reload": "tests/e2e/test_reload.py",
    r"python -m deploy\.kubernetes\.model_worker ": "tests/deploy/test_model_workers.py runs the same",
    r"python -m deploy\.kubernetes\.canary_rollout ": "tests/deploy/test_canary_rollout.py runs the same",
    r"python -m deploy\.planning ": "tests/deploy/planning/test_page.py",
    r"make dashboards": "tests/deploy/test_grafana.py compares its result with the files",
    r"export (RESNEST_TRACES|OTEL_\w+)=": "tests/e2e/test_traces.py sets these variables",
    r"resnest-service calibrate ": "needs a data set; tests/cli/accuracy/test_calibrate.py",
    r"resnest-service keys revoke": "the id is an example; tests/cli/test_keys.py",
}


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of a page: those in `sh` blocks, and those in indented blocks."""
    text = page.read_text(encoding="utf-8")
    fenced = [line for language, body in FENCED.findall(text) if language in SHELLS for line in lines(body)]
    indented = [line for found in INDENTED.finditer(FENCED.sub("", text)) for line in lines(found[1])]
    yield from (*fenced, *(line for line in indented if not NO_COMMAND.match(line)))


def lines(block: str) -> Iterator[str]:
    """Yield the lines of a block without comments. A line that ends in a backslash is joined with the next."""
    for line in block.replace("\\\n", " ").splitlines():
        words = line.strip().partition("  #")[0].strip()
        if words and not words.startswith("#"):
            yield words


def left_out(line: str) -> str | None:
    """Return the pattern of LEFT_OUT that a command matches."""
    return next((pattern for pattern in LEFT_OUT if re.match(pattern, line)), None)


def runnable(page: str) -> list[str]:
    """Return the commands of a page that the test in RUN_BY runs."""
    return [line for line in commands(ROOT / page) if not left_out(line)]
