"""The example receiver: write each notification of Alertmanager to standard output, as one line of JSON.

    python alert_log.py [PORT]

A line has the receiver, the status of the group, and the name, status, labels and links of each alert in it.
"""

import json
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

PORT: Final = 9099
LARGEST_BYTES: Final = 1 << 20
LINKS: Final = ("summary", "runbook_url", "dashboard_url")


def line_of(notification: Mapping[str, Any]) -> str:
    """Return what is written of a notification."""
    alerts = [
        {
            "alert": alert["labels"]["alertname"],
            "status": alert["status"],
            "labels": {name: value for name, value in alert["labels"].items() if name != "alertname"},
            **{name: alert["annotations"][name] for name in LINKS if name in alert["annotations"]},
        }
        for alert in notification["alerts"]
    ]
    return json.dumps({"receiver": notification["receiver"], "status": notification["status"], "alerts": alerts})


class AlertLog(BaseHTTPRequestHandler):
    """Answers 200 to each notification that was written, and 400 to what is none."""

    def do_POST(self) -> None:
        """Write a notification."""
        length = min(int(self.headers.get("Content-Length") or 0), LARGEST_BYTES)
        try:
            line = line_of(json.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError):
            self.send_error(400)
            return
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Write nothing else."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else PORT), AlertLog).serve_forever()
