"""The comparison of one gateway with several, with a real TorchServe."""

import pytest
from click.testing import CliRunner

from benchmarks.costs import many_gateways


@pytest.mark.stress  # 10 s
def test_the_batches_of_several_gateways_are_merged_by_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway has 3 of the 24 callers, so a larger batch has images of several gateways. The start takes 5 s."""
    monkeypatch.setenv("RESNEST_WORKER_CONNECTIONS", "8")
    given = {"gateways": "1,8", "callers": 24, "batch-ms": 20, "image-ms": 0, "seconds": 1, "rounds": 1, "pause-ms": 1}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(many_gateways.main, options)

    assert result.exit_code == 0, result.output
    _, alone, several = [line.split() for line in result.output.splitlines()]
    assert (alone[0], alone[2], several[0]) == ("1", "1.00", "8")
    assert float(several[3]) > 3.5
