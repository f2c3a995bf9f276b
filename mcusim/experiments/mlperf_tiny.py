"""MLPerf Tiny v0.5 to v1.3: every submission on a Cortex-M without an accelerator.

Published numbers are those of ``calibration/measured/mlperf_tiny.csv``, which says of each row what
software ran and how far that is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from mcusim.experiments.mlperf_tiny_runs import CLOSED, IN_RAM, KNOWN, Submission, submissions
from mcusim.experiments.reproduction import TIE, Claim, Figure, Reproduction, Row, Series

__all__ = ["reproduce"]

#: How the benchmark calls each network.
_BENCHMARKS = {
    "ad-autoencoder": "ad",
    "ds-cnn": "kws",
    "mobilenet-v1-0.25": "vww",
    "resnet-8": "ic",
    "streaming-wakeword": "sww",
}
_L4, _G0 = "nucleo-l4r5zi", "nucleo-g0b1re"

#: Published times that differ by less are equal: repeated submissions do so by 2.5 %. Between this
#: and :data:`TIE` an order is there, but nobody chooses by it: such pairs are counted apart.
_EQUAL = 0.03


def reproduce() -> Reproduction:
    """Every row beside its prediction, and the orders of boards and of runtimes."""
    runs = submissions()
    ordered = [run for run in runs if run.table in (KNOWN, CLOSED)]
    return Reproduction(
        "mlperf-tiny",
        "MLPerf Tiny v0.5 to v1.3: Cortex-M boards without an accelerator",
        tuple(row for run in runs for row in _rows(run)),
        tuple(_claims(runs, ordered)),
        _figures(ordered),
        (_all_orders(ordered), *_REMARKS),
    )


_REMARKS = (
    "*Seen* rows entered a fit: the known ones that of their board, the closed ones the factors of "
    "their runtime. [How accurate it is](../accuracy.md) predicts them by fits that had not seen "
    "them; its errors, not those of this page, are what to expect of another network. Weights in "
    "RAM and the B-U585I are rows of this page that no fit has seen.",
    "A closed runtime is CMSIS-NN's predicted time, times measured factors: of the version, of "
    "each family of operators, of the network, and of the board with this engine. Their orders "
    "here are therefore mostly of what was measured; how well factors tell a network or a board "
    "that was left out is on the other page.",
    "The CY8CPROTO is stated to run at 150 MHz and priced at 100 MHz: Mbed OS, which ran there, "
    "sets that on this board, and HALE's published images hold the same words for its clock.",
    "Submissions under one name of a runtime differ where their firmware does: ONNC was submitted "
    "on Mbed OS and on Zephyr, X-CUBE-AI with one bank of flash and with two. One factor holds "
    "their mean.",
    "The runtime on the EK-RA8D1 is not stated. Its rows stand beside the kernels of CMSIS-NN for "
    "Helium, on a board that no fit has seen: an assumption, that could be refuted and is not.",
    "TVM's own kernels were neither published nor counted, float networks of a closed runtime have "
    "no factor, the EK-RA6M4 has no board file and its runtime is not stated, and the streaming "
    "wake word is published as the duty cycle of a stream: these rows have no prediction. "
    "Benchmarks on an NPU or on another processor are not listed.",
)


def _rows(run: Submission) -> Iterator[Row]:
    cells, found = run.cells, run.found
    software = run.software or cells["published_as"] or "not stated"
    what = f"{_BENCHMARKS[run.model]}, {run.board}, {software}"
    note = "; ".join(part for part in (_submission(cells["source"]), _reason(run)) if part)
    published_s = run.measured_s
    energy_mj = float(cells["energy_mj"]) if cells["energy_mj"] else None
    if found is None:
        yield Row(run.table, what, "ms", 1e3 * published_s, note=note)
        if energy_mj is not None:
            yield Row(run.table, what, "mJ", energy_mj, note=note)
        return
    seen = cells["status"] in ("known", "closed", "repeat")
    low, high = (1e3 * run.share * bound for bound in found.latency_interval_s)
    yield Row(
        run.table, what, "ms", 1e3 * published_s, 1e3 * run.predicted_s, low, high, note, seen
    )
    if energy_mj is not None:
        low, high = (1e3 * run.share * bound for bound in found.energy_interval_j)
        yield Row(
            f"{run.table}, energy", what, "mJ", energy_mj, 1e3 * run.share * found.energy_j, low,
            high, note, seen,
        )  # fmt: skip


def _submission(source: str) -> str:
    """Round and submitter."""
    return source.removeprefix("MLPerf Tiny ").replace(" closed", "").rpartition(", ")[0]


def _reason(run: Submission) -> str:
    """What a reader must know of the row beside which table it is in."""
    reason = run.cells["reason"]
    for known in (
        "binary not published: factors over CMSIS-NN",
        "TFLM 2.3.1 and its CMSIS-NN of 2020; profile of mbed-os: -Os",
        "kernels of CMSIS-NN called from generated code; of September 2022 (TVM, pull request "
        "12723): priced as those of CMSIS 5.9.0 at -O3, without an interpreter",
    ):
        reason = reason.replace(known, "")
    return reason.strip("; ")


def _claims(runs: Sequence[Submission], ordered: Sequence[Submission]) -> Iterator[Claim]:
    for model, name in list(_BENCHMARKS.items())[:4]:
        own = [run for run in ordered if run.model == model]
        boards, software = _pairs(own, "software"), _pairs(own, "board")
        yield _order(f"{name}: boards in order of time, software by software", boards)
        yield _order(f"{name}: software in order of time, board by board", software)
    boards, software = _pairs(ordered, "software", True), _pairs(ordered, "board", True)
    yield _order("Energy: boards in order of it, software by software", boards)
    yield _order("Energy: software in order of it, board by board", software)
    yield _generations(ordered)
    yield _library(ordered)
    yield from _placement(runs, ordered)
    yield _without_simd(ordered)


@dataclass(frozen=True)
class _Pair:
    """Two submissions that share the network and either software or board.

    Attributes:
        which: they are.
        apart: how far, as published, above one.
        kept: whether the predictions have the same order.
    """

    which: str
    apart: float
    kept: bool


def _pairs(runs: Sequence[Submission], same: str, energy: bool = False) -> list[_Pair]:
    """Every pair.

    Args:
        runs: to compare.
        same: ``"software"`` or ``"board"``: what both have in common.
        energy: compare energies, not times.
    """
    groups: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for run in runs:
        if energy and not run.cells["energy_mj"]:
            continue
        key = run.software if same == "software" else run.board
        other = run.board if same == "software" else run.software
        assert run.found is not None
        pair = (
            (float(run.cells["energy_mj"]), 1e3 * run.share * run.found.energy_j)
            if energy
            else (run.measured_s, run.predicted_s)
        )
        groups.setdefault((run.model, key), []).append((other, *pair))
    return [
        _Pair(f"{_BENCHMARKS[model]} {key}: {one} and {other}", *_apart(first, second))
        for (model, key), found in groups.items()
        for (one, *first), (other, *second) in combinations(found, 2)
        if one != other
    ]


def _order(text: str, pairs: Sequence[_Pair]) -> Claim:
    """Confirmed when all pairs keep their order that are :data:`TIE` apart as published.

    Closer ones count as ties, and are told beside.
    """
    wrong: dict[str, float] = {}
    for pair in pairs:
        if not pair.kept and pair.apart >= _EQUAL:
            wrong[pair.which] = max(pair.apart, wrong.get(pair.which, 0.0))
    evidence = f"{_kept(pairs, TIE)}; {_kept(pairs, _EQUAL)}"
    if wrong:
        widest = sorted(wrong, key=lambda which: -wrong[which])
        evidence += "; other way round: " + ", ".join(
            f"{which} ({100 * wrong[which]:.0f} % apart)" for which in widest
        )
    return Claim(text, all(pair.kept for pair in pairs if pair.apart >= TIE), evidence)


def _kept(pairs: Sequence[_Pair], least: float) -> str:
    chosen = [pair.kept for pair in pairs if pair.apart >= least]
    return f"{sum(chosen)} of {len(chosen)} pairs that differ by {100 * least:.0f} % and more"


def _all_orders(runs: Sequence[Submission]) -> str:
    """How many orders are kept in all."""
    told = []
    for energy, name in ((False, "times"), (True, "energies")):
        pairs = [p for same in ("software", "board") for p in _pairs(runs, same, energy)]
        told.append(f"of {name}, {_kept(pairs, TIE)} keep their order, {_kept(pairs, _EQUAL)}")
    return (
        "Published numbers less than 10 % apart are taken as a tie: an order is confirmed when all "
        "pairs that are further apart keep it. How many pairs keep it from 3 % on, which is what "
        "repeated submissions differ by, stands beside, and every pair that is the other way round "
        f"with its published difference. In all, {'; '.join(told)}."
    )


def _apart(first: Sequence[float], second: Sequence[float]) -> tuple[float, bool]:
    """How far two published numbers are apart, and whether the predicted ones have their order."""
    published, ours = (math.log(a / b) for a, b in zip(first, second, strict=True))
    return math.expm1(abs(published)), published * ours > 0


def _pick(runs: Sequence[Submission], board: str, model: str, *software: str) -> list[Submission]:
    """The first run of each software."""
    return [
        next(run for run in runs if (run.board, run.model, run.software) == (board, model, each))
        for each in software
    ]


def _generations(runs: Sequence[Submission]) -> Claim:
    old, new = _pick(runs, _L4, "mobilenet-v1-0.25", "x-cube-ai@7.1", "x-cube-ai@9.0")
    published, ours = old.measured_s / new.measured_s, old.predicted_s / new.predicted_s
    return Claim(
        "A generation of a library moves time by more than two on one board: X-CUBE-AI 7.1 to 9.0, "
        "vww on the L4R5",
        ours > 2,
        f"published {published:.2f} times, predicted {ours:.2f} times",
    )


def _library(runs: Sequence[Submission]) -> Claim:
    ratios = []
    for model in ("ad-autoencoder", "ds-cnn", "resnet-8"):
        old, new = _pick(runs, _L4, model, "cmsis-nn@2020 gcc-Os", "cmsis-nn@2022 gcc-O3")
        ratios.append((model, old.measured_s / new.measured_s, old.predicted_s / new.predicted_s))
    return Claim(
        "Kernels of CMSIS-NN from generated code at -O3 are faster than the reference submission's "
        "of 2020 at -Os, most of all where convolutions dominate",
        all(ours > 1 for _, _, ours in ratios) and ratios[0][2] < min(ratios[1][2], ratios[2][2]),
        "published and predicted times faster: "
        + ", ".join(f"{_BENCHMARKS[m]} {a:.2f} and {b:.2f}" for m, a, b in ratios),
    )


def _placement(runs: Sequence[Submission], ordered: Sequence[Submission]) -> Iterator[Claim]:
    told, confirmed = [], True
    for run in runs:
        if run.table != IN_RAM:
            continue
        flash = _pick(ordered, run.board, run.model, run.software)[0]
        published, ours = flash.measured_s / run.measured_s, flash.predicted_s / run.predicted_s
        confirmed &= ours > 1
        told.append(f"{run.board} {published:.2f} and {ours:.2f}")
    yield Claim(
        "The dense network (ad) is faster with its weights in RAM than in flash, on every board",
        confirmed,
        "published and predicted times faster: " + ", ".join(told),
    )


def _without_simd(runs: Sequence[Submission]) -> Claim:
    ratios: list[tuple[str, float, float]] = []
    for model in list(_BENCHMARKS)[:4]:
        small, large = (_pick(runs, board, model, "hale@2024")[0] for board in (_G0, _L4))
        clocks = float(small.cells["clock_hz"]) / float(large.cells["clock_hz"])
        published = clocks * small.measured_s / large.measured_s
        ours = clocks * small.predicted_s / large.predicted_s
        ratios.append((_BENCHMARKS[model], published, ours))
    least = min(ratios, key=lambda r: r[1])
    return Claim(
        "A Cortex-M0+ takes several times the cycles of a Cortex-M4, least on the dense network",
        min(ratios, key=lambda r: r[2])[0] == least[0] and least[2] > 2,
        "published and predicted: " + ", ".join(f"{n} {a:.2f} and {b:.2f}" for n, a, b in ratios),
    )


def _figures(runs: Sequence[Submission]) -> tuple[Figure, ...]:
    series = []
    for table in (KNOWN, CLOSED):
        own = [run for run in runs if run.table == table]
        series.append(
            Series(
                table.lower(),
                [1e3 * run.measured_s for run in own],
                [1e3 * run.predicted_s for run in own],
            )
        )
    return (
        Figure(
            "mlperf-tiny-latency", "MLPerf Tiny on Cortex-M", "published ms", "predicted ms",
            tuple(series), "points", True,
        ),
    )  # fmt: skip
