"""The Optuna example finds networks that beat the first one within the limits."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna", minversion="5.0")

pytestmark = pytest.mark.filterwarnings("default")

_EXAMPLE = Path(__file__).parents[2] / "examples" / "search_with_optuna.py"


def test_a_few_trials_beat_the_first_network(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("search_with_optuna", _EXAMPLE)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = example
    spec.loader.exec_module(example)
    start, best = example.search(trials=200)
    assert best
    for found in best:
        assert found.estimate.latency_s < min(start.estimate.latency_s, example.BELOW_S)
        assert found.estimate.energy_j < min(start.estimate.energy_j, example.MOST_ENERGY_J)
        assert found.estimate.ram_bytes <= example.MOST_RAM_BYTES
        assert found.estimate.flash_bytes <= example.MOST_FLASH_BYTES
        assert found.weights >= start.weights
    example.main(["--trials", "5"])
    assert "of 5 tried" in capsys.readouterr().out
