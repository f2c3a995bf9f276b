"""``mcusim verify``: whether two runtimes compute the same bits, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.verify import Difference, Verification, Way

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("model")
@click.option("--inputs", "input_file", type=_FILE, help="Arrays of a .npy or .npz file.")
@click.option("--runtime", default="cmsis-nn", show_default=True, help="The runtime under test.")
@click.option("--against", default="tflm", show_default=True, help="The runtime to compare with.")
@click.option("--core", default="m4", show_default=True, help="Core that CMSIS-NN is built for.")
@click.option("--single-rounding", is_flag=True, help="CMSIS-NN is built to round once.")
def command(
    model: str,
    input_file: Path | None,
    runtime: str,
    against: str,
    core: str,
    single_rounding: bool,
) -> int:
    """Compare every tensor of MODEL under two runtimes; name what differs, where and why.

    MODEL is a .tflite file or the name of a network (see mcusim networks). Without --inputs eight
    random inputs are run. Exit code 0: equal bits; 1: some differ.
    """
    import mcusim
    from mcusim.cli.arrays import load_inputs
    from mcusim.verify import verify

    with console.progress(f"running {model}"):
        graph = mcusim.load_model(model)
        inputs = load_inputs(input_file, [t.name for t in graph.inputs]) if input_file else None
        found = verify(
            graph,
            inputs,
            runtime=runtime,
            against=against,
            core=core,
            single_rounding=single_rounding,
        )
    console.show("\n".join(_lines(found)))
    return 0 if found.equal else 1


def _lines(found: Verification) -> Iterator[str]:
    number = f"{found.inferences} inference{'s' if found.inferences != 1 else ''}"
    head = f"{found.model}: {found.runtime} against {found.against}, {number}: "
    if found.equal:
        yield f"{head}every tensor has the same bits"
        return
    outputs = "outputs are equal" if found.outputs_equal else "outputs differ"
    differing = len(found.differences) + len(found.carried)
    yield f"{head}{differing} of {found.operators} operators differ, {outputs}"
    for difference in found.differences:
        yield from _difference_lines(found, difference)
    if found.carried:
        listed = ", ".join(map(str, found.carried))
        yield f"differing only because their inputs do: operators {listed}"


def _difference_lines(found: Verification, difference: Difference) -> Iterator[str]:
    yield (
        f"operator {difference.index} ({difference.operator}), {difference.tensor!r}: "
        f"{difference.differing:,} of {difference.elements:,} elements, by up to "
        f"{difference.largest:g}"
    )
    place = f"element {list(difference.element)} of inference {difference.inference}"
    yield f"  {place}: {difference.value:g} against {difference.other:g}: {difference.why}"
    yield from _way_lines(found.runtime, difference.kernel, difference.way)
    yield from _way_lines(found.against, difference.other_kernel, difference.other_way)
    for warning in difference.warnings:
        if warning not in difference.why:
            yield f"  ! {warning}"


def _way_lines(runtime: str, kernel: str, way: Way | None) -> Iterator[str]:
    if way is None:
        yield f"  {runtime} ({kernel}): mcusim does not know the steps"
        return
    sums = f", {way.sums}" if way.sums else ""
    yield f"  {runtime} ({kernel}): accumulator {way.accumulator}{sums}; {way.rounding}"
