"""Whether a board that ran the bench firmware computed what mcusim computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcusim import zoo
from mcusim.calibration.bench_run import BenchReport, BenchRow
from mcusim.calibration.device_network import bench_input, device_name, output_digest
from mcusim.graph import Graph
from mcusim.interpreter import Interpreter
from mcusim.models import load_model

__all__ = ["BitsCheck", "check_bits"]


@dataclass(frozen=True)
class BitsCheck:
    """What a comparison found.

    Attributes:
        lines: what to tell a person, one sentence a network.
        differ: whether any layer computed other bits.
    """

    lines: tuple[str, ...]
    differ: bool


def check_bits(report: BenchReport, models: Sequence[str | Path] = ()) -> BitsCheck:
    """Compare the digests of a report with the outputs of mcusim's kernels.

    Args:
        report: what a board printed.
        models: files of networks that are in the firmware. A network that is neither among them
            nor in the zoo is passed over, and told.

    Raises:
        ModelError: a file cannot be read.
    """
    known = {device_name(graph): graph for graph in map(load_model, models)}
    lines, differ = [], False
    for model in dict.fromkeys(row.model for row in report.rows if row.model != "micro"):
        rows = [row for row in report.rows if row.model == model and row.layer is not None]
        graph = known.get(model) or _of_zoo(model)
        if graph is None:
            lines.append(f"{model}: bits not compared; --model gives the file of a network")
            continue
        wrong = _wrong(graph, rows)
        differ |= bool(wrong)
        if wrong:
            first = wrong[0]
            lines.append(
                f"{model}: operator {first.layer} ({first.operator}) is the first of {len(wrong)} "
                f"of {len(rows)} layers that computed other bits than mcusim"
            )
        else:
            lines.append(f"{model}: {len(rows)} layers computed the same bits as mcusim")
    return BitsCheck(tuple(lines), differ)


def _of_zoo(name: str) -> Graph | None:
    return zoo.build(name) if name in zoo.names() else None


def _wrong(graph: Graph, rows: list[BenchRow]) -> list[BenchRow]:
    source = graph.inputs[0]
    given = bench_input(source.elements).reshape(source.shape)
    tensors = Interpreter(graph).invoke([given], tensors=True).tensors
    operators = graph.main.operators
    return [
        row
        for row in rows
        if row.layer is None
        or row.layer >= len(operators)
        or output_digest(tensors[operators[row.layer].outputs[0]]) != row.digest
    ]
