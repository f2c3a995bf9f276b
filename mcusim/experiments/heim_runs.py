"""Configurations of Heim et al., and the range over what is not known of them."""

from __future__ import annotations

from collections.abc import Sequence

from mcusim.experiments.prediction import Run, estimated
from mcusim.experiments.reproduction import Row

__all__ = [
    "BOARDS",
    "CMSIS",
    "LENET",
    "PLAIN",
    "RESNET",
    "best",
    "plain",
    "ratio_row",
    "reference",
]

BOARDS = {"L4": "nucleo-l496zg", "F4": "disco-f469ni", "F7": "nucleo-f767zi"}
LENET, RESNET = "lenet-5", "resnet-20"
#: TensorFlow 2.2 and the CMSIS-NN that it brought, compiled by GCC 9, as mbed-os 5.15 asks for.
CMSIS = "cmsis-nn@2020"
#: The authors publish the firmware with TensorFlow's own kernels, too.
PLAIN = "tflm@2020"


def best(model: str, board: str) -> Run:
    """int8 with CMSIS-NN at -Ofast, which is fastest everywhere."""
    return Run(model, BOARDS[board], CMSIS, "gcc9-Ofast")


def plain(model: str, board: str) -> Run:
    """The configurations without CMSIS-NN: float32 at -Os without FPU, or int8 at -Ofast.

    Args:
        model: name of a network of the zoo.
        board: L4, F4 or F7.
    """
    if model.endswith(":float32"):
        return Run(model, BOARDS[board], PLAIN, "gcc-Os", False)
    return Run(model, BOARDS[board], PLAIN, "gcc-Ofast")


def reference(model: str, board: str, fpu: bool | None = None) -> list[Run]:
    """Builds of today's reference kernels, for configurations that name no flags.

    Args:
        model: name of a network of the zoo.
        board: L4, F4 or F7.
        fpu: whether the build used the FPU; the board's own when None.
    """
    return [
        Run(model, BOARDS[board], "tflm", build, fpu) for build in ("gcc-O3", "gcc-mk", "gcc-Os")
    ]


def ratio_row(
    table: str,
    what: str,
    published: float,
    slow: Sequence[Run],
    fast: Sequence[Run],
    note: str = "a range over builds of today's reference kernels",
) -> Row:
    """A published ratio of times beside the range over binaries that it may have been of.

    Args:
        table: of the publication.
        what: which ratio of it.
        published: the ratio.
        slow: builds of the slower configuration.
        fast: builds of the faster one, each compared with its own; or the one that is known, and
            then the range holds the intervals of the slower ones too.
        note: what a reader must know.
    """
    if len(fast) == 1:
        known = estimated(fast[0]).latency_s
        ratios = [bound / known for run in slow for bound in estimated(run).latency_interval_s]
    else:
        ratios = [
            estimated(one).latency_s / estimated(other).latency_s
            for one, other in zip(slow, fast, strict=True)
        ]
    return Row(table, what, "x", published, None, min(ratios), max(ratios), note)
