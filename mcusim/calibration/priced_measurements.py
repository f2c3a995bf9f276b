"""What the model of a board says of runs that a user measured on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcusim.boards import Board
from mcusim.calibration.bench_price import ExecutedBench
from mcusim.calibration.board_fit import Parameters, Run, TimeFit
from mcusim.calibration.measurements import Measurement
from mcusim.errors import InputError, McusimError
from mcusim.estimates import Estimate, LayerEstimate, PartEstimate, dominant_family
from mcusim.estimator import estimate
from mcusim.models import load_model
from mcusim.runtimes.closed import BUILD as CLOSED_BUILD

__all__ = ["CalibrationLine", "PricedMeasurement", "start_parameters", "unscaled_board"]

#: Measured over predicted beyond this either way is a wrong unit, not a board.
_ABSURD = 20.0


@dataclass(frozen=True)
class CalibrationLine:
    """One run beside its predictions.

    Attributes:
        measurement: what was measured.
        software: runtime and build.
        clock_hz: clock of the core.
        macs: multiply-accumulates.
        before_s: predicted by the board as it was.
        after_s: predicted by the fitted one.
        left_out_s: predicted by the fit of the other networks; None where there is no other.
        is_outlier: whether no parameter explains it.
        family: of operators that takes most of the time; empty where the firmware was executed.
    """

    measurement: Measurement
    software: str
    clock_hz: float
    macs: int
    before_s: float
    after_s: float
    left_out_s: float | None
    is_outlier: bool
    family: str


@dataclass(frozen=True)
class PricedMeasurement:
    """A run with what the model of the board says of it.

    Attributes:
        measurement: what was measured.
        run: the same in cycles, beside those predicted without any factor.
        clock_hz: clock of the core.
        macs: multiply-accumulates; 0 where the firmware was executed.
        software: runtime and build, as estimates call them.
        family: of operators that takes most of the time; empty where the firmware was executed.
        half_width: of the logarithm's 90 % interval of the network's time while nothing is
            measured; None where the firmware was executed.
    """

    measurement: Measurement
    run: Run
    clock_hz: float
    macs: int
    software: str
    family: str = ""
    half_width: float | None = None

    @classmethod
    def of(cls, board: Board, row: Measurement, file: str, many: bool) -> PricedMeasurement:
        """A row that is estimated.

        Args:
            board: where it was measured.
            row: with its runtime and build.
            file: name of the file it is from.
            many: whether there are other networks; layers are left out one by one where not.

        Raises:
            InputError: the row cannot be priced, or its units are wrong; names the line.
        """
        where = row.place(file)
        plain = unscaled_board(board)
        assert row.runtime is not None and row.build is not None
        try:
            graph = load_model(row.model)
            found = estimate(
                graph,
                plain,
                row.runtime,
                row.build,
                clock_hz=row.clock_hz,
                placement={"weights": row.weights} if row.weights else None,
            )
        except McusimError as error:
            raise InputError(f"{where}: {error}") from None
        row = replace(row, runtime=found.runtime)  # as estimates call it
        parts, macs = _measured_parts(found, row, where)
        causes = [part.cycles_by_cause for part in parts]
        run = Run(
            row.model if many else (row.model, row.layer),
            row.latency_s * found.clock_hz,
            sum(cause.core + cause.working for cause in causes),
            sum(cause.fetch for cause in causes),
            sum(cause.data for cause in causes),
        )
        # What comes compiled has no build.
        software = found.runtime if found.build == CLOSED_BUILD else f"{row.runtime} {row.build}"
        layers = [part for part in parts if isinstance(part, LayerEstimate)]
        low_s, high_s = found.latency_interval_s
        half_width = math.log(high_s / low_s) / 2
        family = dominant_family(layers)
        priced = cls(row, run, found.clock_hz, macs, software, family, half_width)
        priced.check_units(board, where)
        return priced

    @classmethod
    def executed(
        cls, board: Board, row: Measurement, file: str, many: bool, bench: ExecutedBench
    ) -> PricedMeasurement:
        """A row of the bench firmware, which is executed instead of estimated."""
        assert row.build is not None
        try:
            cause = bench.cycles(row.model, row.layer, row.build, row.clock_hz)
        except McusimError as error:
            raise InputError(f"{row.place(file)}: {error}") from None
        clock_hz = row.clock_hz or board.clock.default_hz
        run = Run(
            row.model if many else (row.model, row.layer),
            row.latency_s * clock_hz,
            cause.core,
            cause.fetch,
            cause.data,
        )
        priced = cls(row, run, clock_hz, 0, f"{row.runtime} {row.build}")
        priced.check_units(board, row.place(file))
        return priced

    def cycles(self, parameters: Parameters) -> float:
        """Cycles predicted with some parameters."""
        run, p = self.run, parameters
        waits = p.fetch_wait_scale * run.fetch + p.constant_wait_scale * run.constants
        return p.time_scale * (run.core + waits)

    def check_units(self, board: Board, where: str) -> None:
        """Raise InputError where a time or an energy cannot be what its column says."""
        row, expected_s = self.measurement, self.cycles(start_parameters(board)) / self.clock_hz
        each = f", {self.run.measured / self.macs:,.3g} cycles a MAC" if self.macs else ""
        _check_unit(where, f"a latency of {row.latency_s:.4g} s{each}", row.latency_s / expected_s)
        if row.energy_j is not None:
            power = board.power.with_supply(row.supply_v)
            ratio = row.energy_j / row.latency_s / power.active_w(self.clock_hz)
            _check_unit(where, f"an energy of {row.energy_j:.4g} J", ratio)

    def line(self, fit: TimeFit, index: int, board: Board, start: Parameters) -> CalibrationLine:
        """The run beside what a fit says of it, as the ``index``-th of its runs."""
        row = self.measurement
        left_out = fit.left_out[index] if fit.left_out else None
        return CalibrationLine(
            row,
            self.software,
            self.clock_hz,
            self.macs,
            self.cycles(start) / self.clock_hz,
            row.latency_s / math.exp(fit.residuals[index]),
            None if left_out is None else row.latency_s / math.exp(left_out),
            index in fit.outliers,
            self.family,
        )


def _measured_parts(
    found: Estimate, row: Measurement, where: str
) -> tuple[Sequence[PartEstimate], int]:
    layers = found.layers
    if row.layer is not None:
        layers = tuple(layer for layer in layers if layer.index == row.layer)
        if not layers:
            raise InputError(f"{where}, column layer: {found.model} has no operator {row.layer}")
    for layer in layers:
        if not layer.is_priced:
            raise InputError(
                f"{where}: nothing prices operator {layer.index} ({layer.operator}) of "
                f"{found.model} with {row.runtime}, so that its time cannot be compared"
            )
    parts = layers if row.layer is not None else (*layers, found.invoke)
    if not sum(part.cycles for part in parts):
        raise InputError(f"{where}: {found.model} is predicted to take no time")
    return parts, sum(layer.macs for layer in layers)


def _check_unit(where: str, what: str, ratio: float) -> None:
    if 1 / _ABSURD < ratio < _ABSURD:
        return
    thousands = round(math.log10(ratio) / 3)
    looks = f"; it looks like a unit that is wrong by 1e{3 * thousands}" if thousands else ""
    raise InputError(f"{where}: {what}, is {ratio:.3g} times what is predicted{looks}")


def unscaled_board(board: Board) -> Board:
    """The board with what the parameters of the fit multiply, each of them 1."""
    every = board.core.uncalibrated.model_copy(update={"time_scale": 1.0})
    core = board.core.model_copy(update={"uncalibrated": every})
    return board.model_copy(update={"calibration": None, "core": core})


def start_parameters(board: Board) -> Parameters:
    """The parameters of the fit as the board has them."""
    held = board.calibration
    if held is None:
        return Parameters(board.core.uncalibrated.time_scale, 1.0, 1.0)
    return Parameters(held.time_scale, held.fetch_wait_scale, held.constant_wait_scale)
