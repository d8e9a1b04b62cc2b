"""`python -m deploy.grafana.boards`: write the dashboards that Grafana is provisioned with.

RUNBOOKS is the URL of the page `docs/operations/alerts.md` where your operators read it.
"""

import os
from pathlib import Path

from deploy.grafana.boards import build, capacity, models, service

FOLDER = Path(__file__).parents[1] / "dashboards"
BOARDS = (service.board, models.board, capacity.board)


def documents(runbooks: str = build.RUNBOOKS) -> dict[str, str]:
    """Return the dashboards as JSON by the names of their files."""
    boards = [board() for board in BOARDS]
    return {f"{board.uid}.json": build.document(board, runbooks) for board in boards}


if __name__ == "__main__":
    for name, text in documents(os.environ.get("RUNBOOKS", build.RUNBOOKS)).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
