"""What a board's model says of the bench firmware: the same ELF, executed in the emulator.

The firmware measures itself there as on the board, so that a measured and a predicted row are of
the same instructions. Three runs, with waiting left out, with waiting for instructions and with
waiting for constants, tell its causes apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcusim.boards import Board, Calibration, Cycles
from mcusim.calibration.bench_run import BenchReport, ReportReader
from mcusim.errors import InputError
from mcusim.resources import data_path

if TYPE_CHECKING:
    from mcusim.emulator.machine import Output

__all__ = ["DEVICE", "ExecutedBench", "bench_image", "execute_bench"]

#: The runtime of rows that ``mcusim bench run`` writes; their build is the ELF that ran.
DEVICE = "device"
#: Board time until the first line, which comes before anything is measured, and until the last.
_START_SECONDS, _MOST_SECONDS = 1.0, 600.0
_WITHOUT_WAITS = Calibration(
    measured_on="nothing",
    runs=1,
    software=(DEVICE,),
    time_scale=1.0,
    fetch_wait_scale=0.0,
    constant_wait_scale=0.0,
    measured_over_predicted_low=1.0,
    measured_over_predicted_high=1.0,
)


def bench_image(build: str) -> Path:
    """The ELF of a build: a path, or the name of one that ships, such as ``bench-m4``."""
    if build.endswith(".elf") or "/" in build or "\\" in build:
        return Path(build)
    return data_path("kernels", "device", "firmware", f"{build}.elf")


def execute_bench(image: Path, board: Board, clock_hz: float | None = None) -> BenchReport:
    """Run the bench firmware in the emulator until it has printed a report.

    Args:
        image: the ELF.
        board: where.
        clock_hz: of the core; the board's own when None.

    Raises:
        InputError: it does not fit the board, or prints no report; or the emulator is not
            installed.
        ImageError: it is no firmware.
    """
    try:
        from mcusim.emulator.firmware import power_on
        from mcusim.emulator.machine import Stop, StopReason
    except ImportError as error:
        raise InputError(
            f"runs of the bench firmware are predicted by executing it: pip install mcusim[exec] "
            f"({error})"
        ) from None
    machine = power_on(image, board, clock_hz=clock_hz)
    reader = ReportReader(image.name)

    def hear(output: Output) -> None:
        reader.take(output.data)
        if reader.report() is not None:
            machine.halt(Stop(StopReason.EXITED))

    machine.heard = hear
    stop = machine.run(max_seconds=_START_SECONDS)
    if stop.reason is StopReason.TIME_LIMIT and reader.has_started:
        stop = machine.run(max_seconds=_MOST_SECONDS)
    report = reader.report()
    if report is None:
        detail = f" ({stop.detail})" if stop.detail else ""
        raise InputError(
            f"{image.name}: printed no report of the bench firmware on {board.name}: "
            f"{stop.reason.value}{detail}{reader.progress()}"
        )
    return report


@dataclass
class ExecutedBench:
    """Predictions for the rows of bench firmware on a board.

    Attributes:
        board: without a calibration.
    """

    board: Board
    _known: dict[tuple[str, float | None], dict[tuple[str, int | None], Cycles]] = field(
        default_factory=dict
    )

    def cycles(self, model: str, layer: int | None, build: str, clock_hz: float | None) -> Cycles:
        """Cycles of a row by cause, with nothing scaled.

        Raises:
            InputError: the firmware measures no such row, or cannot be run.
        """
        rows = self._known.get((build, clock_hz))
        if rows is None:
            rows = self._known[build, clock_hz] = self._execute(build, clock_hz)
        # Files of measurements hold the paths of networks, the firmware their names.
        model = Path(model).name
        if (model, layer) not in rows:
            place = "" if layer is None else f", operator {layer}"
            raise InputError(f"{build} does not measure {model}{place}")
        return rows[model, layer]

    def _execute(self, build: str, clock_hz: float | None) -> dict[tuple[str, int | None], Cycles]:
        image = bench_image(build)
        if not image.is_file():
            raise InputError(
                f"the firmware {build} is not there; mcusim bench run --firmware names the ELF"
            )

        def run(**scales: float) -> BenchReport:
            scaled = _WITHOUT_WAITS.model_copy(update=scales)
            board = self.board.model_copy(update={"calibrated": True, "calibration": scaled})
            return execute_bench(image, board, clock_hz)

        core, fetch, constants = (
            run(),
            run(fetch_wait_scale=1.0),
            run(constant_wait_scale=1.0),
        )
        return {
            (row.network, row.layer): Cycles(
                float(row.cycles),
                float(max(0, with_fetch.cycles - row.cycles)),
                float(max(0, with_constants.cycles - row.cycles)),
            )
            for row, with_fetch, with_constants in zip(
                core.rows, fetch.rows, constants.rows, strict=True
            )
        }
