"""A sweep loses nothing and repeats nothing, however it ends."""

from __future__ import annotations

import csv
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import mcusim
from mcusim.cli import commands
from mcusim.errors import InputError, ModelError
from mcusim.sweep import Limits, Row, Space, Store, pareto, sweep
from mcusim.tflite import write
from mcusim.zoo import described

BOARD = "nucleo-l496zg"
SMALL = ["8x8x1 c4k3 f4", "8x8x1 c8k3 d3 f4 softmax"]


def _lines(count: int) -> list[str]:
    return [f"16x16x1 c{8 + index % 40}k3s2 d3 c{8 + index // 40}k1 f4" for index in range(count)]


def _rows(path: Path) -> list[Row]:
    with Store(path) as store:
        return store.rows()


def _swept(space: Space, path: Path) -> list[Row]:
    with Store(path, create=True) as store:
        sweep(space, store, workers=1)
    return _rows(path)


def _command(path: Path, models: Path, *options: str) -> list[str]:
    found = [sys.executable, "-m", "mcusim", "sweep", str(path), "--models-from", str(models)]
    return [*found, "--board", BOARD, "--runtime", "cmsis-nn", *options]


def test_every_combination_has_a_row_that_says_what_an_estimate_says(tmp_path: Path) -> None:
    space = Space(
        SMALL,
        [BOARD, "nucleo-f746zg"],
        ["tflm", "cmsis-nn"],
        ["gcc-O3", "gcc-Os"],
        [None, 48e6],
        [{}, {"weights": "ram"}],
    )
    rows = _swept(space, tmp_path / "swept.db")
    assert len(rows) == len(space) == 64
    assert len({row.key for row in rows}) == 64
    row = next(
        row
        for row in rows
        if (row.model, row.board, row.runtime) == (SMALL[1], "nucleo-f746zg", "cmsis-nn")
        and (row.build, row.clock_hz) == ("gcc-Os", 48e6)
        and '"weights": "ram"' in row.placement
    )
    found = mcusim.estimate(
        described(SMALL[1]),
        mcusim.load_board("nucleo-f746zg"),
        "cmsis-nn",
        "gcc-Os",
        clock_hz=48e6,
        placement={"weights": "ram"},
    )
    assert row.latency_s == found.latency_s
    assert (row.energy_low_j, row.energy_high_j) == found.energy_interval_j
    assert (row.ram_bytes, row.flash_bytes) == (found.ram_bytes, found.flash_bytes)
    assert row.untrained and row.fits and row.unpriced == 0


def test_nothing_is_priced_twice(tmp_path: Path) -> None:
    path = tmp_path / "swept.db"
    first = _swept(Space(SMALL, [BOARD]), path)
    with Store(path, create=True) as store:
        outcome = sweep(Space([*SMALL, "8x8x1  c4k3   f4"], [BOARD]), store, workers=1)
    assert (outcome.priced, outcome.known) == (0, 3)
    assert _rows(path) == first


def test_a_changed_model_is_another_point(tmp_path: Path) -> None:
    path, model = tmp_path / "swept.db", tmp_path / "model.tflite"
    for line in SMALL:
        model.write_bytes(write(described(line)))
        rows = _swept(Space([str(model)], [BOARD]), path)
    assert len(rows) == 2
    assert len({row.latency_s for row in rows}) == 2


def test_what_refuses_a_point_stands_in_its_row(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    space = Space([SMALL[0], "8x8x1 c4k99v", str(damaged)], [BOARD], clocks_hz=[None, 1e12])
    rows = _swept(space, tmp_path / "swept.db")
    assert len(rows) == 6
    said = {(row.model, row.clock_hz): row.error for row in rows}
    assert said[SMALL[0], 80e6] == ""
    assert "not at 1e+06 MHz" in said[SMALL[0], 1e12]
    assert "does not fit into an image of 8x8" in said["8x8x1 c4k99v", 80e6]
    assert "is no TFLite model" in said[str(damaged), 80e6]


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    models, killed = tmp_path / "models.txt", tmp_path / "killed.db"
    lines = _lines(900)
    models.write_text("\n".join(lines))
    process = subprocess.Popen(_command(killed, models, "--workers", "2"))
    try:
        until = time.monotonic() + 30
        while _written(killed) < 64 and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = _rows(killed)
    assert 64 <= len(before) < len(lines)
    ended = subprocess.run(
        _command(killed, models, "--workers", "2"), capture_output=True, text=True, check=True
    )
    left = len(lines) - len(before)
    assert ended.stdout.startswith(f"priced {left:,} points; {len(before):,} were there already")
    whole = _swept(Space(lines, [BOARD], ["cmsis-nn"]), tmp_path / "whole.db")
    assert _rows(killed) == whole
    assert len(whole) == len(lines)


def _written(path: Path) -> int:
    try:
        with Store(path) as store:
            return store.count()
    except InputError:  # it is not there yet
        return 0


def test_an_interrupt_is_one_sentence(tmp_path: Path) -> None:
    models, path = tmp_path / "models.txt", tmp_path / "swept.db"
    models.write_text("\n".join(_lines(20_000)))
    process = subprocess.Popen(
        _command(path, models, "--workers", "2"), stderr=subprocess.PIPE, text=True
    )
    while _written(path) < 64:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.startswith(f"mcusim: interrupted; {path} holds ")
    assert said.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".db"] == ["swept.db"]


def test_unknown_settings_end_a_sweep_before_it_begins(tmp_path: Path) -> None:
    with Store(tmp_path / "swept.db", create=True) as store:
        for wrong, said in (
            (Space(SMALL, [BOARD], ["tflite"]), "no runtime 'tflite'"),
            (Space(SMALL, [BOARD], builds=["gcc-O9"]), "no build 'gcc-O9'"),
            (Space(SMALL, [BOARD], placements=[{"heap": "ram"}]), "no thing to be placed 'heap'"),
        ):
            with pytest.raises(InputError, match=said):
                sweep(wrong, store, workers=1)
        with pytest.raises(ModelError, match="No such file"):
            sweep(Space(["nothing.tflite"], [BOARD]), store, workers=1)


def test_files_that_are_not_a_sweep_are_left_alone(tmp_path: Path) -> None:
    foreign, text, damaged = (tmp_path / name for name in ("foreign.db", "text.db", "damaged.db"))
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE photographs (name TEXT)")
    other.close()
    text.write_text("no database at all, but long enough to look for a header" * 4)
    _swept(Space(SMALL, [BOARD]), damaged)
    damaged.write_bytes(damaged.read_bytes()[:5000])
    for path in (foreign, text, damaged):
        content = path.read_bytes()
        said = pytest.raises(InputError, match=rf"{path.name}: (not a file of|damaged)")
        with said, Store(path, create=True) as store:
            store.add(store.rows())
        assert path.read_bytes() == content
    with pytest.raises(InputError, match="there is no such file"):
        Store(tmp_path / "nothing.db")
    with pytest.raises(InputError, match="cannot be opened"):
        Store(tmp_path / "no folder" / "swept.db", create=True)


def test_a_locked_file_and_a_full_disk_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcusim.sweep.store._PATIENCE_S", 0.05)
    path = tmp_path / "swept.db"
    with Store(path, create=True) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="another program has locked it"):
            sweep(Space(SMALL, [BOARD]), store, workers=1)
        other.close()
        # SQLite says the same of a limit of its own as of a full disk.
        store._database.execute("PRAGMA max_page_count = 4")
        with pytest.raises(InputError, match="the disk is full"):
            sweep(Space(_lines(64), [BOARD]), store, workers=1)
        assert store.count() == 0


def _priced(latency_s: float, energy_j: float, ram: int | None, flash: int, macs: int = 0) -> Row:
    """A row that only its figures tell from others."""
    figures = {"latency_s": latency_s, "energy_j": energy_j, "ram_bytes": ram, "macs": macs}
    row = Row(str(figures) + str(flash), "m", BOARD, "tflm", "gcc-O3", 80e6, "{}")
    return replace(row, flash_bytes=flash, fits=True, unpriced=0, **figures)  # type: ignore[arg-type]


def test_the_front_is_what_nothing_beats_in_everything() -> None:
    rows = [
        _priced(1.0, 1.0, 100, 100),
        _priced(2.0, 2.0, 100, 100, macs=9),  # beaten, but for its size
        _priced(2.0, 0.5, 100, 100),
        _priced(1.0, 1.0, 100, 100),  # as good as the first
        _priced(0.5, 9.0, None, 100),
        _priced(9.0, 9.0, 99, 200),
        _priced(9.0, 9.0, None, 200),
    ]
    assert pareto(rows) == [True, False, True, True, True, True, False]
    assert pareto(rows, large=True) == [True, True, True, True, True, True, False]
    assert pareto([]) == []


@given(
    st.lists(st.tuples(*[st.integers(1, 4)] * 5), max_size=30),
    st.booleans(),
)
def test_the_front_is_that_of_the_definition(
    figures: list[tuple[int, int, int, int, int]], large: bool
) -> None:
    def beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        costs = [(*o[:4], -o[4] if large else 0) for o in (one, other)]
        return costs[0] != costs[1] and all(a <= b for a, b in zip(*costs, strict=True))

    expected = [not any(beats(other, own) for other in figures) for own in figures]
    assert pareto([_priced(*own) for own in figures], large=large) == expected


def test_rows_under_limits(tmp_path: Path) -> None:
    with Store(tmp_path / "swept.db", create=True) as store:
        rows = [_priced(n / 10, 1.0, 1000 * n, 5000) for n in range(1, 6)]
        unfit = replace(_priced(0.01, 0.1, 10, 10), fits=False)
        unpriced = replace(_priced(0.02, 0.1, 10, 10), unpriced=1)
        unknown = _priced(0.03, 0.1, None, 10)
        store.add([*rows, unfit, unpriced, unknown])
        assert store.rows(Limits()) == [unknown, *rows]
        assert store.rows(Limits(latency_s=0.25)) == [unknown, *rows[:2]]
        assert store.rows(Limits(ram_bytes=3000)) == rows[:3]
        assert store.rows(Limits(board="another")) == []
        assert store.rows(Limits(energy_j=0.5)) == [unknown]


def test_the_best_are_shown_and_saved(tmp_path: Path) -> None:
    path, saved = tmp_path / "swept.db", tmp_path / "rows.csv"
    space = Space([*SMALL, "8x8x1 hello"], [BOARD], ["tflm", "cmsis-nn"])
    _swept(space, path)
    shown = CliRunner().invoke(
        commands, ["sweep", "show", str(path), "--below-ms", "50", "--csv", str(saved)]
    )
    assert shown.exit_code == 0
    assert "4 of 6 points keep to the limits" in shown.stdout
    assert "refused: 2;" in shown.stdout
    with saved.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert [float(row["latency_s"]) for row in rows] == sorted(float(r["latency_s"]) for r in rows)
    assert rows[0]["on_front"] == "True"


def test_a_sweep_compiles_nothing(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from mcusim.sweep import Space, Store, sweep
with Store(Path(sys.argv[1]), create=True) as store:
    sweep(Space(["8x8x1 c4k3 f4"], ["nucleo-l496zg"], ["tflm", "cmsis-nn"]), store, workers=1)
print("numba" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "swept.db")]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"False\n"
