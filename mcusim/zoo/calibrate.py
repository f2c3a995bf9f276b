"""The calibration pass of the networks; ``python -m mcusim.zoo.calibrate`` stores its ranges."""

from __future__ import annotations

import json

import numpy as np

from mcusim.graph import Array, Graph
from mcusim.zoo.networks import NETWORKS
from mcusim.zoo.quantization import activation_ranges
from mcusim.zoo.ranges import RANGES_PATH

__all__ = ["calibrated_ranges", "calibration_inputs"]

_RUNS = 8


def calibration_inputs(graph: Graph) -> list[Array]:
    """Seeded inputs in [0, 1), uniform, of the network's input shape: ``float32``."""
    random = np.random.default_rng(1)
    shape = graph.inputs[0].shape
    return [random.random(shape, np.float32) for _ in range(_RUNS)]


def calibrated_ranges(name: str) -> dict[int, tuple[float, float]]:
    """Run the calibration pass of a network: the range of each computed tensor, by index."""
    graph = NETWORKS[name]().graph()
    return activation_ranges(graph, calibration_inputs(graph))


def _main() -> None:
    ranges = {
        name: {
            str(index): [float(f"{low:.6g}"), float(f"{high:.6g}")]
            for index, (low, high) in sorted(calibrated_ranges(name).items())
        }
        for name in NETWORKS
    }
    lines = ",\n".join(f"    {json.dumps(n)}: {json.dumps(r)}" for n, r in ranges.items())
    source = (
        f"calibration pass of mcusim.zoo.calibrate: {_RUNS} seeded uniform inputs, seeded "
        "weights; range of each computed tensor of the float32 network, by index"
    )
    RANGES_PATH.write_text(
        f'{{\n  "source": {json.dumps(source)},\n  "ranges": {{\n{lines}\n  }}\n}}\n'
    )


if __name__ == "__main__":
    _main()
