"""The commands that follow a change of a store fit that store."""

from pathlib import Path

import pytest

from service.cli.models import next_steps


def test_a_new_model_is_served_by_a_start_or_by_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_MODEL_STORE", str(tmp_path))

    assert next_steps.after_adding("mine", tmp_path) == (
        "Serve it: resnest-service run --models mine. If a service runs already: resnest-service models reload"
    )
    assert next_steps.after_removing(tmp_path).endswith("until: resnest-service models reload")


def test_another_store_than_the_usual_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNEST_MODEL_STORE", raising=False)
    store = tmp_path / "my models"

    assert next_steps.after_adding("mine", store).count(f"--store '{store}'") == 2
    assert next_steps.after_removing(store).endswith(f"models reload --store '{store}'")
