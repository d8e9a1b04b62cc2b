"""The requirements of quantisation; tests/cli/accuracy/test_quantise.py tests its results, in separate processes."""

import subprocess
import sys


def test_without_nncf_it_is_told_what_to_install() -> None:
    program = (
        "import sys; sys.modules['nncf'] = None\n"
        "from service.engines.openvino import quantise; quantise.require_installed()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240)
    assert "CardError: quantising needs OpenVINO and NNCF" in done.stderr
