"""OpenVINO must neither report its use nor break signal handlers."""

import json
import subprocess
import sys
from pathlib import Path


def test_it_reports_its_use_to_nobody() -> None:
    """A plain import of OpenVINO would also import its telemetry package."""
    program = (
        "import json, sys; from service.engines.openvino import runtime; runtime.package()\n"
        "print(json.dumps([name for name, module in sys.modules.items() if module and 'telemetry' in name]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    loaded = json.loads(done.stdout)
    assert "openvino.tools.ovc.telemetry_stub" in loaded
    assert not [name for name in loaded if name.startswith("openvino_telemetry")]


def test_a_signal_finds_its_handler_after_engines_have_come_and_gone(store: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from service.models import cards; from service.engines.openvino import engine as openvino_engine\n"
        "engines = [openvino_engine.load(cards.read(Path(folder))) for folder in sys.argv[1:]]\n"
        "while engines: engines.pop(0)\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    folders = [str(store / name) for name in ("tiny-classifier", "tiny-classifier-b")]
    command = [sys.executable, "-c", program, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
