"""RAM and flash of the firmware in Profentzas et al., as the paper counts them.

What does not depend on the network is taken from binaries and sources that the authors published,
or is the published remainder of one network; each says which.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.estimates import Estimate
from mcusim.graph import Graph

__all__ = ["Size", "Sizes", "sizes"]

#: Published RAM of uTensor beyond its pools, the same for nine of ten networks: Mbed OS with a main
#: stack of 8,024 bytes (``mbed_app.json``), C library, drivers. None of it depends on the network.
_MBED_BYTES = {"mnist": 11_000, "cifar10": 14_816}

#: RAM and flash of TF-Micro beyond the model, from the binaries published for Conv-32 and their
#: models of 23,632 and 27,792 bytes: Zephyr, every operator, the hand-sized arena's margin.
_ZEPHYR_BYTES = {"mnist": (49_008, 147_948), "cifar10": (54_608, 157_008)}

#: What TensorFlow's converter writes beyond our own writer, on the models of Conv-32.
_CONVERTER_BYTES = {"mnist": 23_632 - 21_744, "cifar10": 27_792 - 25_840}

#: Of CMSIS-NN's firmware, published as an ELF for Conv-32 on MNIST: code and tables, and variables
#: beside weights, images and buffers (its log, the debugger's buffers, drivers).
_PROGRAM_BYTES = 22_008 + 24 + 208 + 122
_VARIABLE_BYTES = 66_848 - 17_578 - 7_840 - 21_632 - 10_816 - 5_408 - 1_600
#: An image that is linked in; the published sizes hold one.
_IMAGE_BYTES = {"mnist": 784, "cifar10": 3_072}
#: Outputs of the first convolution and of the pooling behind it, in bytes a filter.
_OUTPUT_BYTES = {"mnist": 26 * 26 + 13 * 13, "cifar10": 30 * 30 + 15 * 15}
#: Buffers of columns and of the dense layer in the source for Conv-32 on CIFAR-10.
_COLUMN_BYTES = 2 * 7_200 + 2 * 1_152
_CHECKED_IN = 32


@dataclass(frozen=True)
class Size:
    """RAM or flash as the paper counts it.

    Attributes:
        size_bytes: ours; None where only a range is known.
        note: what a reader must know.
        bounds: a range over what is not known.
    """

    size_bytes: float | None
    note: str
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sizes:
    """Both."""

    ram: Size
    flash: Size


def sizes(runtime: str, data_set: str, filters: int, graph: Graph, found: Estimate) -> Sizes:
    """RAM and flash of a network's firmware.

    Args:
        runtime: as the paper calls it.
        data_set: ``"mnist"`` or ``"cifar10"``.
        filters: of each convolution.
        graph: the network, int8.
        found: its estimate under the runtime.
    """
    if runtime == "uTensor":
        return _utensor(data_set, filters, found)
    if runtime == "TF-Micro":
        model = found.flash_bytes + _CONVERTER_BYTES[data_set]
        ram, flash = _ZEPHYR_BYTES[data_set]
        return Sizes(
            Size(
                ram + model,
                "the arena is sized by hand, to the model's length and more; the rest is that of "
                "Conv-32",
            ),
            Size(flash + model, "the model, and the program of the binary published for Conv-32"),
        )
    weights = sum(t.elements for t in graph.main.tensors if _is_weight(graph, t.index))
    return _cmsis_nn(data_set, filters, weights)


def _is_weight(graph: Graph, index: int) -> bool:
    held = {
        t.index
        for n in graph.main.nodes
        if n.name in ("CONV_2D", "FULLY_CONNECTED")
        for t in n.inputs[1:]
        if t is not None
    }
    return index in held


def _utensor(data_set: str, filters: int, found: Estimate) -> Sizes:
    # The published figure "counts only program code and input vectors".
    program = next(p.size_bytes for p in found.flash if p.name.startswith("uTensor"))
    note = (
        "pools as utensor_cgen sizes them, and what Mbed OS takes: the published remainder, which "
        "does not depend on the network"
    )
    if (data_set, filters) == ("mnist", 96):
        note = "3,928 bytes above the line of the other four, unexplained"
    return Sizes(
        Size((found.arena_bytes or 0) + _MBED_BYTES[data_set], note),
        Size(program, "published without weights, with Mbed OS; ours is uTensor and its C++ "
             "library alone"),
    )  # fmt: skip


def _cmsis_nn(data_set: str, filters: int, weights: int) -> Sizes:
    """Weights are initialized variables: they lie in flash and are copied to RAM."""
    image = _IMAGE_BYTES[data_set]
    program = _PROGRAM_BYTES + image + weights
    said = "weights, an image, and the program of the ELF published for Conv-32 on MNIST"
    short = {("mnist", 96), ("mnist", 128), ("cifar10", 128)}
    if (data_set, filters) in short:
        said += f"; the published size is less than its weights' {weights:,} bytes"
    if (data_set, filters) == ("cifar10", 32):
        said += "; published with ten images more, 30,720 bytes, as in its source"
    flash = Size(program, said)
    outputs = _OUTPUT_BYTES[data_set]
    kept = weights + image + _VARIABLE_BYTES
    if data_set == "mnist":
        note = (
            "weights, outputs of the first layer, variables of the published ELF; its buffer of "
            "columns is not in the published sizes"
        )
        if filters == 128:
            note = "more than the chip's 262,144 bytes: buffers must have been made smaller"
        return Sizes(Size(kept + outputs * filters, note), flash)
    needed = kept + outputs * filters + _COLUMN_BYTES * filters / _CHECKED_IN
    checked_in = kept + outputs * _CHECKED_IN + _COLUMN_BYTES
    note = "buffers are sized by hand: from those of the source for Conv-32 to what the layers need"
    if filters == _CHECKED_IN:
        return Sizes(Size(needed, "buffers as its source declares them"), flash)
    bounds = min(needed, checked_in), max(needed, checked_in)
    return Sizes(Size(None, note, bounds), flash)
