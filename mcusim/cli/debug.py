"""``mcusim debug``: where quantization hurts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from rich.table import Table

    from mcusim.graph import Array, Graph
    from mcusim.verify import Verification
    from mcusim.verify.quantization_error import QuantizationError

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_LABELS = "labels"
#: More than this share of an input is no outlier.
_SATURATED = 0.005


@click.command()
@click.argument("model")
@click.option("--float", "reference", required=True, help="The float model it was made from.")
@click.option(
    "--inputs",
    "input_file",
    type=_FILE,
    required=True,
    help="A .npy or .npz file of float inputs; an array named labels gives each one's class.",
)
@click.option("--runtime", default="tflm", show_default=True, help="Software that runs the model.")
@click.option("--core", default="m4", show_default=True, help="Core that CMSIS-NN is built for.")
@click.option("--json", "json_file", type=_FILE, help="Save what was found as JSON.")
def command(
    model: str,
    reference: str,
    input_file: Path,
    runtime: str,
    core: str,
    json_file: Path | None,
) -> None:
    """Show what quantization does to each layer of MODEL, beside the float model.

    With labels, also how often each runtime is right. MODEL is a .tflite file or the name of a
    network (see mcusim networks); its float form is then <name>:float32.
    """
    import mcusim
    from mcusim.cli.arrays import load_named
    from mcusim.cli.output_files import write_whole
    from mcusim.verify.classification import check_labels
    from mcusim.verify.quantization_error import quantization_error

    graph, exact = mcusim.load_model(model), mcusim.load_model(reference)
    inputs, others = load_named(input_file, [t.name for t in exact.inputs], {_LABELS})
    if _LABELS in others:
        check_labels([(exact.name, exact), (graph.name, graph)], inputs, others[_LABELS])
    with console.progress(f"running {graph.name}"):
        found = quantization_error(graph, exact, inputs, runtime=runtime, core=core)
    console.show(
        f"{found.model} under {found.runtime} beside {found.reference}, "
        f"{found.inferences} inferences",
        _table(found),
        *_conclusions(found),
    )
    content = found.to_dict()
    for against in ("cmsis-nn", "litert"):
        compared = _compared(graph, inputs, runtime, against, core)
        console.show(*_comparison(against, compared))
        if not isinstance(compared, str):
            content.setdefault("bits", []).append(compared.to_dict())
    if _LABELS in others:
        accuracy = _accuracy(graph, exact, inputs, others[_LABELS], core)
        for name, (correct, count) in accuracy.items():
            console.show(f"accuracy  {name}: {100 * correct / count:.2f} % ({correct} of {count})")
        content["accuracy"] = {name: c / n for name, (c, n) in accuracy.items()}
    if json_file:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_whole(json_file, lambda file: file.write(text.encode()))


def _table(found: QuantizationError) -> Table:
    from rich.table import Table

    table = Table("#", "operator", box=None, pad_edge=False)
    for heading in ("SNR dB", "own dB", "bias %", "saturated %", "unused %", "wasted %", "spread"):
        table.add_column(heading, justify="right")
    for layer in found.layers:
        table.add_row(
            str(layer.index),
            layer.operator,
            _db(layer.signal_to_noise_db),
            _db(layer.own_signal_to_noise_db),
            f"{100 * layer.bias:.1f}",
            f"{100 * layer.saturated:.1f}",
            f"{100 * (layer.unused_below + layer.unused_above):.0f}",
            f"{100 * layer.zero_point_waste:.0f}",
            f"{layer.channel_spread:.1f}" if layer.channel_spread > 1 else "",
        )
    return table


def _db(ratio: float | None) -> str:
    if ratio is None:
        return "?"
    return "exact" if math.isinf(ratio) and ratio > 0 else f"{ratio:.1f}"


def _conclusions(found: QuantizationError) -> Iterator[str]:
    yield (
        "SNR: with the errors of the layers before; own: from the float network's values. Unused: "
        "codes that no value takes; wasted: codes for negative numbers that do not occur"
    )
    first, most = found.first_loss, found.adds_most
    if first:
        yield (
            f"loss starts at operator {first.index} ({first.operator}): "
            f"{_db(first.signal_to_noise_db)} dB"
        )
    else:
        yield "no layer falls below 20 dB"
    if most:
        yield f"operator {most.index} ({most.operator}) adds most by itself"
    for position, share in enumerate(found.inputs_saturated):
        if share > _SATURATED:
            yield (
                f"! {100 * share:.1f} % of input {position} lies outside what it can hold: are "
                "these inputs scaled as those of the calibration?"
            )
    if found.unmatched:
        listed = ", ".join(map(str, found.unmatched))
        yield f"! the float model has no operators {listed}: they are left out"


def _compared(
    graph: Graph, inputs: Sequence[Array], runtime: str, against: str, core: str
) -> Verification | str:
    """What comparing bits found; why there is nothing to say otherwise."""
    from mcusim.errors import InputError, ModelError
    from mcusim.verify import verify, verify_recorded
    from mcusim.verify.litert import litert_tensors
    from mcusim.verify.quantization_error import quantized_inputs

    few = [array[:8] for array in quantized_inputs(graph, inputs)]
    try:
        if against == "litert":
            recorded = litert_tensors(graph, few)
            return verify_recorded(graph, few, recorded, runtime=runtime, core=core)
        return verify(graph, few, runtime=runtime, against=against, core=core)
    except (InputError, ModelError) as error:
        return str(error)


def _comparison(against: str, found: Verification | str) -> Iterator[str]:
    if isinstance(found, str):
        yield f"bits      against {against}: {found}"
    elif found.equal:
        yield f"bits      against {against}: every tensor equal, {found.inferences} inferences"
    else:
        reasons = Counter(f"{d.operator}: {d.why}" for d in found.differences)
        for reason, times in reasons.items():
            yield f"bits      against {against}: {times} x {reason}"


def _accuracy(
    graph: Graph, exact: Graph, inputs: Sequence[Array], labels: Array, core: str
) -> dict[str, tuple[int, int]]:
    from mcusim.errors import McusimError
    from mcusim.verify.classification import LITERT, scores

    ways = [("float", exact, "tflm"), *((name, graph, name) for name in ("tflm", "cmsis-nn"))]
    try:
        import ai_edge_litert  # noqa: F401

        ways.append((LITERT, graph, LITERT))
    except ImportError:
        pass
    totals: dict[str, tuple[int, int]] = {name: (0, 0) for name, _, _ in ways}
    total = len(ways) * len(labels)
    try:
        with console.bar("accuracy", total) as advance:
            for score in scores(ways, inputs, labels, core=core):
                correct, count = totals[score.way]
                totals[score.way] = (correct + score.correct, count + score.inferences)
                advance(score.inferences)
    except McusimError as error:
        raise type(error)(f"accuracy: {error}") from None
    return totals
