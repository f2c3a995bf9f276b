"""What ``mcusim exec`` saves of a run: JSON, and traces for Perfetto and speedscope."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcusim.cli import console
from mcusim.cli.output_files import write_whole

if TYPE_CHECKING:
    from mcusim.emulator.layers import LayerWatch
    from mcusim.emulator.machine import Machine
    from mcusim.emulator.profile import Execution
    from mcusim.estimates import Estimate

__all__ = ["save_json", "save_traces"]


def save_json(
    machine: Machine,
    found: Execution,
    result: Mapping[str, Any],
    layers: Estimate | None,
    path: Path,
) -> None:
    """Save all of a run.

    Args:
        machine: that has stopped.
        found: what it took.
        result: what a function that was called returned; empty for whole firmware.
        layers: the first inference, where one was told.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    content = found.to_dict()
    content["output"] = [
        {
            "channel": said.channel,
            "text": said.data.decode("utf-8", "replace"),
            "time_s": said.cycles / machine.clock_hz,
        }
        for said in machine.outputs
    ]
    content["unknown_registers"] = [
        {
            "address": access.address,
            "reads": access.reads,
            "writes": access.writes,
            "accessed_by": [machine.place(at) for at in access.blocks],
        }
        for _, access in sorted(machine.bus.unknown.items())
    ]
    content["inference"] = layers and layers.to_dict()
    content["call"] = dict(result) or None
    fault = found.stop.fault
    content["fault"] = fault and fault.to_dict()
    content["handled_faults"] = [f.to_dict() for f in machine.faults if f is not fault]
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def save_traces(
    machine: Machine,
    found: Execution,
    watch: LayerWatch,
    trace_file: Path | None,
    speedscope_file: Path | None,
) -> None:
    """Save when each function and layer ran.

    Args:
        machine: that recorded it.
        found: what it took.
        watch: of the layers.
        trace_file: for Perfetto, or None.
        speedscope_file: for speedscope, or None.

    Raises:
        OSError: one cannot be written.
    """
    from mcusim.emulator.traces import Timeline, perfetto, speedscope

    timeline = Timeline.of(machine)
    if not timeline.is_whole:
        console.show("! the trace holds the beginning of the run only: there was no room for more")
    if trace_file:
        trace = json.dumps(perfetto(machine, timeline, found, watch))
        write_whole(trace_file, lambda file: file.write(trace.encode()))
    if speedscope_file:
        flame = json.dumps(speedscope(machine, timeline))
        write_whole(speedscope_file, lambda file: file.write(flame.encode()))
