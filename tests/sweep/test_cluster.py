"""A sweep on a Dask cluster whose workers come and go."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mcusim.errors import InputError
from mcusim.sweep import Space, Store, sweep

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("default")

BOARD = "nucleo-l496zg"


def _space(count: int) -> Space:
    lines = [f"16x16x1 c{8 + i % 40}k3s2 d3 c{8 + i // 40}k1 f4" for i in range(count)]
    return Space(lines, [BOARD], ["cmsis-nn"])


def test_workers_may_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcusim.sweep.run._POINTS_A_JOB", 16)
    space = _space(320)
    with Store(tmp_path / "here.db", create=True) as store:
        sweep(space, store, workers=1)
        expected = store.rows()
    settings: dict[str, Any] = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "silence_logs": 50,
    }
    changed = threading.Event()
    with (
        distributed.LocalCluster(**settings) as cluster,
        Store(tmp_path / "cluster.db", create=True) as store,
    ):
        first = next(iter(cluster.workers.values()))

        def change(done: int) -> None:
            if done and not changed.is_set():
                changed.set()
                # A nanny's process is killed as a machine that goes away.
                first.process.process.kill()
                cluster.scale(3)

        outcome = sweep(space, store, scheduler=cluster.scheduler_address, advance=change)
        assert changed.is_set()
        assert (outcome.priced, outcome.known) == (len(expected), 0)
        assert store.rows() == expected


def test_a_scheduler_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcusim.sweep.cluster._CONNECT_S", 0.5)
    started = time.monotonic()
    with Store(tmp_path / "swept.db", create=True) as store:
        with pytest.raises(InputError, match="no Dask scheduler answers at tcp"):
            sweep(_space(2), store, scheduler="tcp://127.0.0.1:9")
        with pytest.raises(InputError, match="'nonsense' is no address of a scheduler"):
            sweep(_space(2), store, scheduler="nonsense")
    assert time.monotonic() - started < 15
