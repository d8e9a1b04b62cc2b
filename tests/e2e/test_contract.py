"""Valid and invalid requests generated from the OpenAPI description: it must describe each answer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import Running

TOOL = Path(sys.executable).with_name("schemathesis")
RULES = Path(__file__).with_name("schemathesis.toml")

pytestmark = pytest.mark.e2e


def ask(service: Running, folder: Path, cases: int, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run schemathesis with up to `cases` requests for every operation in each phase, and return the result."""
    command = [TOOL, "--config-file", RULES, "run", f"{service.client.base_url}/openapi.json", "--checks", "all"]
    # On loopback no key is required; tests/gateway/access/test_authorization.py tests keys.
    command += ["--exclude-checks", "ignored_auth"]
    command += ["--max-examples", str(cases), "--seed", "1", "--continue-on-failure", "--no-color"]
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.mark.timeout(400)
def test_every_answer_to_drawn_requests_is_described(service: Running, tmp_path: Path) -> None:
    verdict = ask(service, tmp_path, 10, 300)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert service.client.get("/readyz").status_code == 200


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_thousands_of_drawn_requests_are_answered_as_described(service: Running, tmp_path: Path) -> None:
    verdict = ask(service, tmp_path, 500, 1700)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
