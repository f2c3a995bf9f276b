"""Layers in Heim et al.: shares of a network's time, and what CMSIS-NN does to each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcusim.estimates import LayerEstimate
from mcusim.experiments.heim_runs import BOARDS, LENET, RESNET, best, reference
from mcusim.experiments.prediction import Run, estimated
from mcusim.experiments.reproduction import TIE, Claim, Figure, Row, Series
from mcusim.models import load_model

__all__ = ["layer_claims", "layer_figures", "layer_rows"]

#: Instructions of LeNet's two convolutions, int8, in the TFLite Micro of TensorFlow 2.2.0 that the
#: published firmware holds, by flag: counted in an emulator, compiled with GCC 12.2.
_COUNTED_2020 = {"-Ofast": (3_013_366, 5_403_461), "-Os": (3_965_814, 8_201_356)}


def layer_rows() -> Iterator[Row]:
    """Shares of LeNet's time and operations by kind of layer (figure 5.17)."""
    convolutions, dense = _shares("CONV_2D"), _shares("FULLY_CONNECTED")
    yield Row(
        "Figure 5.17", "LeNet, convolutions: share of operations", "%", 72.0,
        100 * convolutions.operations,
    )  # fmt: skip
    for name, published, found in (("convolutions", 87.0, convolutions), ("dense", 13.0, dense)):
        yield Row(
            "Figure 5.17", f"LeNet, {name}: share of time, CMSIS-NN", "%", published,
            100 * found.time, note="of convolutions and dense layers together",
        )  # fmt: skip


@dataclass(frozen=True)
class _Shares:
    """Of all convolutions and dense layers of LeNet, those of one kind."""

    parameters: float
    operations: float
    time: float


def _shares(operator: str) -> _Shares:
    """Published shares of the time add up to 100 %: pooling and the rest are not in them."""
    kinds = ("CONV_2D", "FULLY_CONNECTED")
    layers = [x for x in estimated(best(LENET, "L4")).layers if x.operator in kinds]
    chosen = [x for x in layers if x.operator == operator]
    return _Shares(
        _parameters(operator) / sum(map(_parameters, kinds)),
        sum(x.macs for x in chosen) / sum(x.macs for x in layers),
        sum(x.latency_s for x in chosen) / sum(x.latency_s for x in layers),
    )


def _parameters(operator: str) -> int:
    nodes = [n for n in load_model(f"{LENET}:float32").main.nodes if n.name == operator]
    return sum(t.elements for n in nodes for t in n.inputs[1:] if t is not None)


def layer_claims() -> Iterator[Claim]:
    """What the paper concludes of layers."""
    dense = _shares("FULLY_CONNECTED")
    yield Claim(
        "Dense layers hold more than 90 % of LeNet's parameters, less than 30 % of its operations, "
        "and still less of its time",
        dense.parameters > 0.9 and dense.operations < 0.3 and dense.time < dense.operations,
        f"{100 * dense.parameters:.1f} % of the parameters, {100 * dense.operations:.1f} % of the "
        f"operations, {100 * dense.time:.1f} % of the time",
    )
    first, second = _convolutions(best(LENET, "L4"))
    yield Claim(
        "With CMSIS-NN LeNet's first convolution takes longer than its second, with fewer MACs",
        first.latency_s > second.latency_s and first.macs < second.macs,
        f"{1e3 * first.latency_s:.3g} and {1e3 * second.latency_s:.3g} ms, {first.macs:,} and "
        f"{second.macs:,} MACs",
    )
    today = [_convolutions(run) for run in reference(LENET, "L4")]
    yield Claim(
        "Without CMSIS-NN the second takes longer",
        all(before < after for before, after in _COUNTED_2020.values()),
        "instructions of both, counted in the published generation of the kernels: "
        + ", ".join(f"{a:,} and {b:,} ({flag})" for flag, (a, b) in _COUNTED_2020.items())
        + "; today's kernels, in ms: "
        + ", ".join(
            f"{1e3 * a.latency_s:.3g} and {1e3 * b.latency_s:.3g} ({run.build})"
            for run, (a, b) in zip(reference(LENET, "L4"), today, strict=True)
        ),
    )
    gains = _gains()
    convolutions = [g for operator, _, g in gains if operator == "CONV_2D"]
    others = [g for operator, _, g in gains if operator != "CONV_2D"]
    yield Claim(
        "CMSIS-NN accelerates layers non-uniformly, also those of one type",
        max(convolutions) > (1 + TIE) * min(convolutions),
        f"ResNet-20, over today's reference kernels at -O3: convolutions {min(convolutions):.1f} "
        f"to {max(convolutions):.1f} times, other layers {min(others):.1f} to {max(others):.1f}",
    )


def _convolutions(run: Run) -> list[LayerEstimate]:
    return [x for x in estimated(run).layers if x.operator == "CONV_2D"]


def _gains() -> list[tuple[str, int, float]]:
    """Operator, position and gain of ResNet-20's layers that take more than next to no time."""
    plain = estimated(reference(RESNET, "L4")[0]).layers
    fast = estimated(best(RESNET, "L4")).layers
    pairs = zip(plain, fast, strict=True)
    return [(a.operator, a.index, a.latency_s / b.latency_s) for a, b in pairs if a.macs or b.macs]


def layer_figures() -> Iterator[Figure]:
    """Time by layer, with CMSIS-NN and without."""
    for model, name in ((LENET, "LeNet-5"), (RESNET, "ResNet-20")):
        fast = estimated(best(model, "L4")).layers
        plain = estimated(Run(model, BOARDS["L4"], "tflm", "gcc-O3")).layers
        numbers = [float(x.index) for x in fast]
        yield Figure(
            f"heim-layers-{model.partition('-')[0]}", f"{name} by layer, int8, L4", "operator",
            "ms",
            (
                Series("none", numbers, [1e3 * x.latency_s for x in plain]),
                Series("cmsis-nn", numbers, [1e3 * x.latency_s for x in fast]),
            ),
            "bars",
        )  # fmt: skip
