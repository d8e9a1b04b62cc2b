"""The inputs of public reports, sent to the real service by the command that an operator can run, too."""

import subprocess
import sys

import pytest

from tests.e2e.running import Running
from tests.laws.sources import ROOT

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(200)
def test_each_input_of_the_table_is_answered_rightly_or_declined_in_words(service: Running) -> None:
    command = [sys.executable, "-m", "tests.inputs.table", "--url", str(service.client.base_url)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("0 wrong")
