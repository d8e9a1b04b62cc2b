from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.costs import network_forms


@pytest.mark.stress  # 16 s
def test_each_form_of_both_engines_is_compared_with_the_reference(store: Path) -> None:
    options = ["--rounds", "1", "--threads", "1", "--precision", "f32", "--batch", "2", "--sides", "64", "96"]
    result = CliRunner().invoke(network_forms.main, [str(store), "tiny-classifier", "tiny-segmenter", *options])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if line.lstrip().startswith(("openvino", "torch"))]
    assert len(rows) == 2 * 2 * len(network_forms.FORMS)
    references = [row for row in rows if " reference " in row]
    assert len(references) == 4
    assert all(row.split()[-3:] == ["1.00"] * 3 for row in references)
