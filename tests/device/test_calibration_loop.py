"""The calibration loop: bench firmware, port, measurements, fit, with a board that is simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcusim.boards import Board, Calibration, load_board
from mcusim.calibration.bench_bits import check_bits
from mcusim.calibration.bench_build import Compiler, build_firmware
from mcusim.calibration.bench_price import DEVICE, bench_image, execute_bench
from mcusim.calibration.boards import calibrate
from mcusim.calibration.measurements import read_measurements
from mcusim.emulator.firmware import power_on
from mcusim.errors import InputError
from mcusim.models import load_model
from tests.device.test_bench_run import bench_run, board_at_terminal
from tests.device.test_firmware import needs_zig

pytest.importorskip("serial")


def printed(board: Board) -> bytes:
    """What the shipped firmware prints on a simulated board."""
    machine = power_on(bench_image("bench-m4"), board)
    machine.run(max_seconds=60)
    return machine.output()


@pytest.fixture
def uncached(tmp_path: Path) -> Path:
    """An nRF52840 whose firmware leaves the cache off, as reset does: its flash is waited for."""
    path = tmp_path / "uncached.toml"
    path.write_text('base = "nrf52840-dk"\nname = "uncached"\n[flash]\nicache_on = false\n')
    return path


@pytest.mark.parametrize(
    "scales",
    [
        {"time_scale": 1.13, "fetch_wait_scale": 0.7, "constant_wait_scale": 1.3},
        {"time_scale": 0.9, "fetch_wait_scale": 1.6, "constant_wait_scale": 0.5},
    ],
)
def test_shifted_parameters_are_recovered(
    scales: dict[str, float], uncached: Path, tmp_path: Path
) -> None:
    """Nothing but the report goes from the board to the fit."""
    shifted = Calibration.model_validate(
        {
            "measured_on": "nothing",
            "runs": 1,
            "software": (DEVICE,),
            **scales,
            "measured_over_predicted_low": 1.0,
            "measured_over_predicted_high": 1.0,
        }
    )
    board = load_board(uncached)
    secret = board.model_copy(update={"calibrated": True, "calibration": shifted})
    runs = tmp_path / "runs.csv"
    with board_at_terminal(printed(secret)) as port:
        code, output = bench_run("--port", port, "--board", uncached, "-o", runs)
    assert code == 0
    assert "ds-cnn: 12 layers computed the same bits as mcusim" in output
    found = calibrate(uncached, runs)
    assert not found.refused
    assert found.fit.fitted == tuple(scales)
    assert vars(found.fit.parameters) == pytest.approx(scales, rel=0.02)
    assert 'software = ["device bench-m4"]' in found.toml(tmp_path)


def test_rows_of_the_firmware_next_to_estimated_ones(uncached: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs.csv"
    runs.write_text(
        "model,runtime,build,latency_ms,layer\n"
        "ds-cnn,device,bench-m4,350,\n"
        "micro-alu,device,bench-m4,0.75,\n"
        "ds-cnn,device,bench-m4,45,0\n"
        "ds-cnn,cmsis-nn,gcc-O3,200,\n"
    )
    found = calibrate(uncached, runs)
    assert [line.software for line in found.lines] == ["device bench-m4"] * 3 + ["cmsis-nn gcc-O3"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("lenet-5,device,bench-m4,1,", "bench-m4 does not measure lenet-5"),
        ("ds-cnn,device,bench-m4,1,10", "bench-m4 does not measure ds-cnn, operator 10"),
        ("ds-cnn,device,bench-m5,1,", "the firmware bench-m5 is not there"),
        ("ds-cnn,device,bench-m4,0.001,", "is [0-9.]+e-06 times what is predicted"),
    ],
)
def test_wrong_rows_are_told_by_their_line(
    cells: str, said: str, uncached: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs.csv"
    runs.write_text(f"model,runtime,build,latency_ms,layer\n{cells}\n")
    with pytest.raises(InputError, match=said) as caught:
        calibrate(uncached, runs)
    assert str(caught.value).startswith("runs.csv, line 2")
    assert read_measurements(runs).rows[0].runtime == DEVICE


@needs_zig
@pytest.mark.parametrize(
    ("name", "clock_hz"), [("nrf52840-dk", 64_000_000), ("nucleo-f429zi", 168_000_000)]
)
def test_firmware_for_a_board_runs_on_the_simulated_board(
    name: str, clock_hz: int, tmp_path: Path
) -> None:
    """From reset over clock and UART registers to the last row, with the core's cycle counter."""
    image = tmp_path / "bench.elf"
    build_firmware([load_model("ds-cnn")], image, name, compiler=Compiler.zig())
    report = execute_bench(image, load_board(name), clock_hz)
    assert (report.board, report.timer, report.clock_hz) == (name, "dwt", clock_hz)
    assert not check_bits(report).differ
