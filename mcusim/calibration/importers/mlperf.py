"""Results of MLPerf Tiny: what its runners, EEMBC's and that of 2025, write of a submission."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcusim.errors import InputError

__all__ = ["OfficialResult", "is_result_text", "read_results", "read_results_json"]

#: Networks of the zoo with the shapes of the benchmark's, by what devices call the models.
_NETWORKS = {
    "kws": "ds-cnn",
    "ic": "resnet-8",
    "vww": "mobilenet-v1-0.25",
    "ad": "ad-autoencoder",
}
#: The same by how many outputs an inference has.
_BY_OUTPUTS = {12: "kws", 10: "ic", 2: "vww", 1: "ad"}
#: Energy samples a second of the runner of 2025.
_ENERGY_HZ = 1000.0
#: One inference alone is timed to a millisecond, in accuracy mode.
_LEAST_INFERENCES = 2
_MOST_BYTES = 64 << 20

_MODEL = re.compile(r"m-model-\[(\w+)\]|Device model retrieved: (\w+)")
_INFERENCES = re.compile(r"(?:# )?Inferences\s*: +(\d+)\s*$")
_RUNTIME = re.compile(r"(?:Runtime|Elapsed time)\s*: +(\d[\d.]*)")
_ENERGY = re.compile(r"Energy/Inf\.?\s*: +(\d[\d.]*) uJ/inf")
_STARTED = re.compile(r"dut\]?: m-infer-start-(\d+)")
_LAP = re.compile(r"dut\]?: m-lap-us-(\d+)")
_RESULT = re.compile(r"inf\./sec\.|uJ/inf|m-model-\[|ulp-ml|Top 1% =|m-session-start-id")


@dataclass(frozen=True)
class OfficialResult:
    """What a run of the benchmark says of one network: medians over its windows.

    Attributes:
        network: of the zoo, with the benchmark's shapes; empty where the file does not tell.
        latency_s: time of one inference.
        energy_j: energy of one inference; None where it was not measured.
        supply_v: None where the file does not tell.
        windows: how many were measured.
    """

    network: str
    latency_s: float
    energy_j: float | None
    supply_v: float | None
    windows: int


def is_result_text(text: str) -> bool:
    """Whether the start of a file is that of results or of a log of the benchmark."""
    return _RESULT.search(text) is not None


def read_results(path: Path) -> OfficialResult:
    """Read ``results.txt`` or ``log.txt`` of performance or energy mode.

    Raises:
        InputError: it holds no times.
    """
    found = _Windows()
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found.read(line[:500] for line in file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not found.times_s:
        raise InputError(
            f"{path.name}: holds no times of inferences: take the results of performance or "
            "energy mode"
        )
    _check_streaming(path, found.model)
    return OfficialResult(
        _NETWORKS.get(found.model or _folder(path), ""),
        statistics.median(found.times_s),
        statistics.median(found.energies_j) if found.energies_j else None,
        None,
        len(found.times_s),
    )


@dataclass
class _Windows:
    """What the lines of a file say of each window."""

    model: str = ""
    times_s: list[float] = field(default_factory=list)
    energies_j: list[float] = field(default_factory=list)
    _inferences: int = 0
    _runtime_s: float = 0.0
    _laps: list[int] = field(default_factory=list)
    _lapped: list[float] = field(default_factory=list)

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if match := _MODEL.search(line):
                self.model = _family(match[1] or match[2])
            elif match := _INFERENCES.search(line):
                self._inferences = int(match[1])
                self._window()
            elif match := _RUNTIME.search(line):
                self._runtime_s = _number(match[1])
                self._window()
            elif match := _ENERGY.search(line):
                self.energies_j.append(_number(match[1]) * 1e-6)
            elif match := _STARTED.search(line):
                self._laps = [int(match[1])]
            elif self._laps and (match := _LAP.search(line)):
                self._laps.append(int(match[1]))
                self._lap()
        # A log of EEMBC's runner holds laps alone; that of 2025 holds windows as well.
        self.times_s = self.times_s or self._lapped

    def _window(self) -> None:
        """A window is whole once its inferences and its time were told, in either order."""
        if self._inferences and self._runtime_s:
            if self._inferences >= _LEAST_INFERENCES:
                self.times_s.append(self._runtime_s / self._inferences)
            self._inferences, self._runtime_s = 0, 0.0

    def _lap(self) -> None:
        if len(self._laps) == 3:
            inferences, start, stop = self._laps
            if inferences >= _LEAST_INFERENCES and stop > start:
                self._lapped.append((stop - start) * 1e-6 / inferences)
            self._laps = []


def read_results_json(path: Path) -> OfficialResult:
    """Read ``results.json`` of the runner of 2025, in performance or energy mode.

    Raises:
        InputError: it is none, or holds neither times nor energies.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path.name}: is too long for results of MLPerf Tiny")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path.name}: is not JSON") from None
    windows = content if isinstance(content, list) else [content]
    windows = [w for w in windows if isinstance(w, dict) and isinstance(w.get("infer"), dict)]
    if not windows:
        raise InputError(f"{path.name}: is no results.json of MLPerf Tiny")
    if any("wav_file" in w or "wav_file" in w["infer"] for w in windows):
        _check_streaming(path, "sww")
    try:
        measured = [found for window in windows if (found := _measured(window))]
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        raise InputError(f"{path.name}: is no results.json of MLPerf Tiny") from None
    if not measured:
        raise InputError(
            f"{path.name}: holds no times of inferences: take the results of performance or "
            "energy mode"
        )
    energies = [energy for _, energy in measured if energy is not None]
    outputs = windows[0]["infer"].get("results")
    family = _BY_OUTPUTS.get(len(outputs), "") if isinstance(outputs, list) else _folder(path)
    return OfficialResult(
        _NETWORKS.get(family, ""),
        statistics.median(latency for latency, _ in measured),
        statistics.median(energies) if energies else None,
        _supply(windows),
        len(measured),
    )


def _measured(window: dict[str, Any]) -> tuple[float, float | None] | None:
    """Time and energy of one inference; None of a window that tells no time."""
    inferences = int(window["infer"]["iterations"])
    if inferences < _LEAST_INFERENCES:
        return None
    if elapsed := window["infer"].get("elapsed_time"):
        latency_s = float(elapsed) * 1e-6 / inferences
        return (latency_s, None) if latency_s > 0 and math.isfinite(latency_s) else None
    power = window.get("power")
    if not isinstance(power, dict) or len(power["timestamps"]) < 2:
        return None
    # The pin moves while the device starts: the last two edges bound the inferences.
    start, stop = (int(stamp[1]) for stamp in power["timestamps"][-2:])
    samples = power["samples"][start:stop]
    latency_s, energy_j = len(samples) / _ENERGY_HZ / inferences, sum(samples) / inferences
    whole = 0 <= start < stop and len(samples) == stop - start
    return (latency_s, energy_j) if whole and energy_j > 0 and math.isfinite(energy_j) else None


def _supply(windows: Sequence[dict[str, Any]]) -> float | None:
    power = windows[0].get("power")
    volts = power.get("voltage") if isinstance(power, dict) else None
    known = isinstance(volts, (int, float)) and math.isfinite(volts) and volts > 0
    return float(volts) if known and volts is not None else None


def _family(model: str) -> str:
    return model.lower().rstrip("0123456789")


def _folder(path: Path) -> str:
    """The network that the folders of a submission name: ``kws/performance/results.txt``."""
    return next((part for part in reversed(path.resolve().parts) if part in _NETWORKS), "")


def _check_streaming(path: Path, model: str) -> None:
    if model == "sww":
        raise InputError(
            f"{path.name}: is of the streaming wake word, whose time of an inference is not told"
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
