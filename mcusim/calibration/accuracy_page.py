"""Writes docs/accuracy.md: every published run beside what was predicted without it.

python -m mcusim.calibration.accuracy_page --write
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcusim.calibration.accuracy_tables import (
    closed_table,
    coverage_table,
    elsewhere_table,
    energy_table,
    errors,
    fits_table,
    heim_table,
    known_table,
    layers_table,
    ordered_rows,
    orderings,
    table,
    unpriced_table,
)
from mcusim.calibration.accuracy_text import CLOSED, HEAD, INSTRUCTIONS, ROWS, WRONG
from mcusim.calibration.closed_fit import closed_widths
from mcusim.calibration.held_out import (
    coverage,
    energy_coverage,
    held_out_energy,
    held_out_latency,
    held_out_power,
)
from mcusim.calibration.published import STATUSES, data_set_sha256, published_runs

__all__ = ["accuracy_page", "main"]

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
_NEAR = ("network", "kind")


def accuracy_page() -> str:
    """The page as Markdown."""
    return "\n".join([*_lines(), ""])


def _lines() -> Iterator[str]:
    yield HEAD
    yield from _targets()
    yield ""
    yield INSTRUCTIONS
    yield "## The published runs"
    yield ""
    counts = [(s, len(published_runs(s))) for s in STATUSES]
    said = ", ".join(f"{count} {status}" for status, count in counts)
    yield f"`calibration/measured/` holds {sum(n for _, n in counts)} rows: {said}."
    yield f"SHA-256 of the files: `{data_set_sha256()[:16]}…`. *Known* means that the binary is"
    yield "known and its kernels were counted; *closed*, that its runtime is not published."
    yield ""
    yield "## Boards and their fits"
    yield ""
    yield ROWS["fits"]
    yield from fits_table()
    yield ""
    yield "## Time, every run whose binary is known"
    yield ""
    yield ROWS["known"]
    yield from known_table()
    yield ""
    yield WRONG
    yield "## Tables 5.8, 5.9 and 5.11 of Heim et al."
    yield ""
    yield ROWS["heim"]
    for name in ("table 5.8", "table 5.9", "table 5.11"):
        yield f"### {name.capitalize()}"
        yield ""
        yield from heim_table(name)
        yield ""
    yield from _ratios()
    yield ""
    yield "## Energy"
    yield ""
    yield ROWS["energy"]
    yield from energy_table()
    yield ""
    yield "## Which board is faster, which draws less"
    yield ""
    yield from _orderings()
    yield ""
    yield "## Intervals"
    yield ""
    yield ROWS["intervals"]
    yield from coverage_table()
    yield ""
    yield "## Layers and networks that no fit has seen"
    yield ""
    yield ROWS["layers"]
    yield from elsewhere_table()
    yield ""
    yield from layers_table()
    yield ""
    yield "## Closed runtimes"
    yield ""
    yield CLOSED
    yield from closed_table()
    yield ""
    yield "## Rows that are not used, and why"
    yield ""
    yield from unpriced_table()


def _targets() -> Iterator[str]:
    near = [h for h in held_out_latency() if h.distance in _NEAR]
    away = [h for h in held_out_latency() if h.distance == "board" and h.run.status == "known"]
    energy = [h for h in held_out_energy() if h.distance in _NEAR]
    inside, runs = 0, 0
    for found in (coverage(held_out_latency()), coverage(held_out_power()), energy_coverage()):
        inside, runs = inside + sum(c.inside for c in found), runs + sum(c.runs for c in found)
    near_sizes, away_sizes, energy_sizes = errors(near), errors(away), errors(energy)
    rows = [
        [
            "calibrated board, network unseen",
            "mean 5 %, none over 12 %",
            f"mean {_p(statistics.fmean(near_sizes))}, worst {_p(max(near_sizes))}",
            str(len(near)),
        ],
        [
            "board never measured",
            "median 12 %",
            f"median {_p(statistics.median(away_sizes))}, worst {_p(max(away_sizes))}",
            str(len(away)),
        ],
        [
            "energy, network unseen",
            "mean 6 %",
            f"mean {_p(statistics.fmean(energy_sizes))}, worst {_p(max(energy_sizes))}",
            str(len(energy)),
        ],
        ["inside 90 % intervals", "86 to 94 %", _p(inside / runs), str(runs)],
    ]
    for name, of_energy in (("time", False), ("energy", True)):
        pairs, right, _ = orderings(ordered_rows(of_energy), of_energy)
        rows.append([f"boards ordered by {name}", "always", f"{right} of {pairs} pairs", ""])
    widths = closed_widths()
    rows += [
        [
            f"closed runtimes, {name} unseen",
            "marked, wide",
            f"mean {_p(widths[distance]['mean_error'])}",
            f"{widths[distance]['runs']:g}",
        ]
        for name, distance in (("network", "network"), ("board", "board"))
    ]
    yield from table(("what", "wanted", "measured", "runs"), rows, 0)


def _ratios() -> Iterator[str]:
    """Table 5.11's ratios of the best configurations."""
    yield "ResNet-20 over LeNet-5, both with CMSIS-NN, each predicted with its network unseen:"
    yield ""
    found = {(h.run.board, h.run.model): h for h in held_out_latency() if h.distance in _NEAR}
    rows = []
    for board in dict.fromkeys(h.run.board for h in found.values()):
        small, large = found.get((board, "lenet-5")), found.get((board, "resnet-20"))
        if small and large:
            published = large.run.latency_s / small.run.latency_s
            predicted = published / math.exp(large.residual - small.residual)
            rows.append([board, f"{published:.1f}", f"{predicted:.1f}"])
    yield from table(("board", "published", "predicted"), rows, 2)


def _orderings() -> Iterator[str]:
    yield ROWS["orderings"]
    for name, of_energy in (("time", False), ("energy", True)):
        pairs, right, wrong = orderings(ordered_rows(of_energy), of_energy)
        others = f": {'; '.join(dict.fromkeys(wrong))}" if wrong else ""
        yield f"- By {name}: {right} of {pairs} pairs are ordered rightly{others}."


def _p(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; with ``--write``, write it."""
    parser = argparse.ArgumentParser(description="How accurate predictions are.")
    parser.add_argument("--write", action="store_true", help=f"write {_PAGE.name}")
    if parser.parse_args(arguments).write:
        _PAGE.write_text(accuracy_page(), encoding="utf-8")
    else:
        print(accuracy_page())  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
