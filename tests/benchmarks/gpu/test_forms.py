"""Tests of the forms in which an engine can run a network."""

import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from benchmarks.gpu import forms, roofline
from benchmarks.gpu.answers import Reference
from benchmarks.gpu.options import GpuOptions
from benchmarks.gpu.roofline import Ceilings
from service.engines.cuda.device import Cpu
from service.engines.cuda.engine import LAYOUTS
from service.models import cards

OPTIONS = GpuOptions(Cpu(), "fp32", batch_size=2, workers=1, callers=(), seconds=0.01, images=6)
LIMITS = Ceilings(1e12, 1e9, 1e9)


@dataclass(frozen=True)
class Switches:
    fold: bool = False
    taps: bool = False


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Switches]:
    """Put a module of rewrites in place of the tree's, and return the forms that it is asked for."""
    asked: list[Switches] = []

    def rewrite(network: nn.Module, form: Switches) -> nn.Module:
        asked.append(form)
        if form.taps:
            raise RuntimeError("no kernel for this form\nwith details")
        return network

    module = ModuleType(forms.REWRITES)
    module.__dict__.update({"Form": Switches, "rewrite": rewrite, "__spec__": object()})
    monkeypatch.setitem(sys.modules, forms.REWRITES, module)
    return asked


@pytest.mark.usefixtures("applied")
def test_every_memory_format_has_no_rewrite_then_one_more_each_time() -> None:
    assert [str(form) for form in forms.forms()] == [
        text for layout in LAYOUTS for text in (layout, f"{layout}, fold", f"{layout}, taps")
    ]
    assert list(forms.forms())[2].rewrites == ("fold", "taps")


@pytest.mark.stress  # 11 s; test_gpu.py has the forms of a tiny classifier
def test_each_form_is_measured_and_one_that_fails_says_why(store: Path, applied: list[Switches]) -> None:
    reference = Reference.of(cards.read(store / "tiny-classifier"), OPTIONS)
    work = partial(roofline.work, reference.card, dtype=OPTIONS.dtype)
    found = forms.measure(reference, LIMITS, OPTIONS, cache(work))
    assert [each["form"] for each in found] == [str(form) for form in forms.forms()]
    for each in found:
        if each["form"].endswith("taps"):
            assert each["failed"] == "no kernel for this form"
        else:
            assert each["agreement"]["holds"]
            assert [row["images"] for row in each["engine"]] == [1, 2]
    assert applied == [Switches(fold=True), Switches(fold=True, taps=True)] * len(LAYOUTS)
    assert len(forms.rows(found)) == len(LAYOUTS) * (2 + 2 + 1)
