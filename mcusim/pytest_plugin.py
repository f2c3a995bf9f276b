"""The pytest plugin: snapshots of what a model computes.

It is installed with mcusim. ``pytest --mcusim-record`` records snapshots anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mcusim.graph import Array, Graph

__all__ = ["BitSnapshot", "bit_snapshot", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--mcusim-record``."""
    parser.getgroup("mcusim").addoption(
        "--mcusim-record",
        action="store_true",
        help="record what bit_snapshot is called with, instead of comparing it",
    )


class BitSnapshot:
    """Holds a model to what it computed when its snapshot was recorded.

    Args:
        folder: where snapshots lie.
        test: name of the test, which names its snapshots.
        record: record instead of comparing.
    """

    def __init__(self, folder: Path, test: str, record: bool) -> None:
        self._folder = folder
        self._stem = re.sub(r"[^\w.-]+", "-", test).strip("-")
        self._record = record
        self._calls = 0

    def assert_unchanged(
        self,
        model: str | Path | Graph,
        inputs: Array | Sequence[object] | None = None,
        *,
        runtime: str = "tflm",
        core: str = "m4",
    ) -> None:
        """Fail if an operator computes other bits than recorded; the text names the operators.

        Args:
            model: a path, the name of a network of the zoo, or a graph.
            inputs: as for :meth:`mcusim.Interpreter.invoke`; eight random inputs when None.
            runtime: the runtime that computes it.
            core: the device's core.

        Raises:
            AssertionError: bits changed, or nothing was recorded yet.
        """
        from mcusim.graph import Graph
        from mcusim.models import load_model
        from mcusim.testing import assert_bit_exact
        from mcusim.verify import random_inputs, take_snapshot

        self._calls += 1
        suffix = "" if self._calls == 1 else f"-{self._calls}"
        path = self._folder / f"{self._stem}{suffix}.toml"
        graph = model if isinstance(model, Graph) else load_model(model)
        if self._record:
            given = random_inputs(graph) if inputs is None else inputs
            snapshot = take_snapshot(graph, given, runtime=runtime, core=core)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snapshot.to_toml(), "utf-8")
            return
        if not path.exists():
            raise AssertionError(f"{path} is not recorded yet: run pytest --mcusim-record once")
        assert_bit_exact(graph, inputs, runtime=runtime, against=path, core=core)


@pytest.fixture
def bit_snapshot(request: pytest.FixtureRequest) -> BitSnapshot:
    """Snapshots of this test, in a folder ``snapshots`` beside its file."""
    return BitSnapshot(
        request.path.parent / "snapshots" / request.path.stem,
        request.node.name,
        request.config.getoption("--mcusim-record"),
    )
