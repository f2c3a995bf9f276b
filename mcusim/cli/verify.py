"""``mcusim verify``: whether two runtimes compute the same bits, and why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.graph import Array, Graph
    from mcusim.verify import Change, Difference, Verification, Way

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_RECORDED = (".npz", ".npy")


@click.command()
@click.argument("model")
@click.option("--inputs", "input_file", type=_FILE, help="Arrays of a .npy or .npz file.")
@click.option("--runtime", default="cmsis-nn", show_default=True, help="The runtime under test.")
@click.option(
    "--against",
    default="tflm",
    show_default=True,
    help="A runtime, a .npy or .npz file of recorded outputs, or a snapshot (.toml).",
)
@click.option("--core", default="m4", show_default=True, help="Core that CMSIS-NN is built for.")
@click.option("--single-rounding", is_flag=True, help="CMSIS-NN is built to round once.")
@click.option("--record", type=_FILE, help="Save what each operator computes as a snapshot.")
@click.option("--json", "json_file", type=_FILE, help="Save what was found as JSON.")
@click.option("--junit", "junit_file", type=_FILE, help="Save it as JUnit XML, a case an operator.")
def command(
    model: str,
    input_file: Path | None,
    runtime: str,
    against: str,
    core: str,
    single_rounding: bool,
    record: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
) -> int:
    """Compare every tensor of MODEL under two runtimes; name what differs, where and why.

    MODEL is a .tflite file or the name of a network (see mcusim networks). Without --inputs eight
    random inputs are run. Exit code 0: equal bits; 1: some differ.
    """
    import mcusim
    from mcusim.cli.arrays import load_inputs
    from mcusim.cli.output_files import write_whole
    from mcusim.verify import random_inputs, read_snapshot, take_snapshot

    if against.endswith(_RECORDED) and not input_file:
        raise click.UsageError("recorded outputs need --inputs: what they were computed from")
    with console.progress(f"running {model}"):
        graph = mcusim.load_model(model)
        inputs = (
            load_inputs(input_file, [t.name for t in graph.inputs])
            if input_file
            else random_inputs(graph)
        )
        build = {"runtime": runtime, "core": core}
        now = (
            take_snapshot(graph, inputs, **build, single_rounding=single_rounding)
            if record or against.endswith(".toml")
            else None
        )
        if now and against.endswith(".toml"):
            changes = read_snapshot(Path(against)).changes(now)
            lines = list(_change_lines(graph.name, against, changes))
            failures = {c.index: c.why for c in changes}
            found = {
                "schema": "mcusim/changes/1",
                "model": graph.name,
                "against": against,
                "changes": [vars(change) for change in changes],
            }
        else:
            verification = _verified(graph, inputs, against, build, single_rounding)
            lines = list(_lines(verification))
            failures = {d.index: d.why for d in verification.differences}
            failures |= dict.fromkeys(verification.carried, "its inputs differ")
            found = verification.to_dict()
    if now and record:
        text = now.to_toml()
        write_whole(record, lambda file: file.write(text.encode()))
    if json_file:
        content = json.dumps(found, indent=1, allow_nan=False) + "\n"
        write_whole(json_file, lambda file: file.write(content.encode()))
    if junit_file:
        report = _junit(graph, f"{runtime} against {against}", failures)
        write_whole(junit_file, lambda file: file.write(report))
    console.show("\n".join(lines))
    return 1 if failures else 0


def _verified(
    graph: Graph,
    inputs: list[Array],
    against: str,
    build: dict[str, str],
    single_rounding: bool,
) -> Verification:
    from mcusim.cli.arrays import load_outputs
    from mcusim.verify import verify, verify_recorded

    if not against.endswith(_RECORDED):
        return verify(graph, inputs, against=against, **build, single_rounding=single_rounding)
    recorded = load_outputs(Path(against), [t.name for t in graph.outputs])
    return verify_recorded(graph, inputs, recorded, **build, single_rounding=single_rounding)


def _change_lines(model: str, against: str, changes: tuple[Change, ...]) -> Iterator[str]:
    if not changes:
        yield f"{model}: every operator computes what {against} holds"
        return
    yield f"{model}: {len(changes)} operators do not compute what {against} holds"
    for change in changes:
        if change.is_cause:
            yield f"operator {change.index} ({change.operator}), {change.tensor!r}: {change.why}"
    carried = [str(change.index) for change in changes if not change.is_cause]
    if carried:
        yield f"differing only because their inputs do: operators {', '.join(carried)}"


def _junit(graph: Graph, suite: str, failures: dict[int, str]) -> bytes:
    """A case an operator; as most CI services read it."""
    from xml.etree import ElementTree

    nodes = graph.main.nodes
    missing = [i for i in failures if i >= len(nodes)]
    root = ElementTree.Element(
        "testsuite",
        name=f"mcusim verify {graph.name}: {suite}",
        tests=str(len(nodes) + len(missing)),
        failures=str(len(failures)),
        errors="0",
    )
    names = {node.index: f"operator {node.index} ({node.name})" for node in nodes}
    for index in [*names, *missing]:
        case = ElementTree.SubElement(
            root,
            "testcase",
            classname=f"mcusim.{graph.name}",
            name=names.get(index, f"operator {index}"),
        )
        if index in failures:
            ElementTree.SubElement(case, "failure", message=_legal(failures[index]))
    for element in root.iter():
        element.attrib.update({key: _legal(value) for key, value in element.attrib.items()})
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _legal(text: str) -> str:
    """Without the control characters that XML has no way to hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


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
    where = f"{runtime} ({kernel})" if kernel else runtime
    if way is None:
        yield f"  {where}: mcusim does not know the steps"
        return
    sums = f", {way.sums}" if way.sums else ""
    yield f"  {where}: accumulator {way.accumulator}{sums}; {way.rounding}"
