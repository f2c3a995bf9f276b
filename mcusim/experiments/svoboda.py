"""Svoboda et al. 2022: what MobileNetV2 costs on microcontrollers whose memory it outgrows.

"Deep Learning on Microcontrollers: A Study on Deployment Costs and Challenges", EuroMLSys 2022,
doi 10.1145/3517207.3526978. Most of its numbers are plotted only, so that relations are reproduced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mcusim.boards import load_board
from mcusim.estimator import estimate
from mcusim.experiments.reproduction import Figure, Reproduction, Row, Series
from mcusim.experiments.svoboda_claims import claims, grown, squeezed_mb
from mcusim.experiments.svoboda_formats import FORMATS, format_rows, priced_format
from mcusim.experiments.svoboda_layers import layers, network
from mcusim.experiments.svoboda_movement import (
    FILES,
    LIBRARIES,
    board,
    card_energy_j,
    moved_megabyte,
    movement_rows,
    rooms,
)

__all__ = ["reproduce"]

#: Table 1: clock in MHz, SRAM and flash in KB.
_BOARDS = {
    "nucleo-f767zi": (216, 512, 2048),
    "nucleo-f746zg": (216, 320, 1024),
    "nucleo-f429zi": (180, 256, 1024),
    "nucleo-f207zg": (120, 128, 1024),
    "nucleo-f091rc": (48, 32, 256),
}
_CLOCKS_HZ = (100e3, 200e3, 400e3, 1e6, 2e6, 5e6, 10e6, 25e6)


def reproduce() -> Reproduction:
    """What the text gives in numbers, what it plots as our prediction, and its conclusions."""
    return Reproduction(
        "svoboda",
        "Svoboda, Fernandez-Marques, Liberis, Lane: Deep Learning on Microcontrollers: A Study on "
        "Deployment Costs and Challenges (2022)",
        (*_boards(), *_working_sets(), *_program(), *movement_rows(), *format_rows(), *_sizes()),
        tuple(claims(tuple(_BOARDS))),
        tuple(_figures()),
        _REMARKS,
    )


_REMARKS = (
    "The paper plots nearly all of its measurements and its text holds few numbers. Where it gives "
    "a relation, the relation is reproduced; where it plots, our prediction stands alone, and says "
    "so. No number was read off a plot.",
    "Layers that spill are exactly those of Figures 3 and 4 when the padding that Keras writes "
    "before a stride of 2 is a layer, as in its models, and a layer whose input lies on the card "
    "reads it in pieces. The room for inputs and outputs must then lie between two sizes that "
    "exclude the 512 KB of the board that was measured, and hold for the F429 and F746: what of "
    "the F767's RAM was free, the paper does not say. The dense layer is the 68th where pooling is "
    "not counted, the 69th where it is. Padding is not priced.",
    "The card is known as 2 GB, class 4. What it waits before a block and after one are ranges "
    "from other people's cards; at 1 MHz transfer dominates and they hardly matter, at 25 MHz they "
    "decide. Erase and program times of the F767's flash are its datasheet's, unchecked.",
    "The paper's kernels are not published. Its Q-format ones wrap CMSIS-NN's legacy q7 kernels, "
    "of which the depthwise one was not counted here; its affine ones are its own. Figure 7 is "
    "therefore predicted with kernels of our own (`kernels/weight_formats/`: plain loops, one "
    "output at a time, without im2col), counted in the emulator. On convolutions alone ours takes "
    "a quarter more than CMSIS-NN's q7 kernels. What is slow about affine weights is a plain "
    "implementation: CMSIS-NN's kernels for them, with SIMD, are about as fast as its q7 ones.",
    "Code books unpack the dense layer to 1.25 MiB, more than the RAM of any of the boards. It is "
    "priced as unpacked in pieces, since each of its weights is used once; stored in flash instead "
    "it would take seconds to erase and write, as in Figure 5.",
    "Real bits depend on trained weights, and the paper's are not published. The zoo's weights are "
    "drawn from normal distributions; trained ones have a few large values and many small ones, "
    "and take fewer bits. The range is that of trained networks of the other papers.",
)


def _boards() -> Iterator[Row]:
    for name, (clock_mhz, sram_kb, flash_kb) in _BOARDS.items():
        ours = load_board(name)
        yield Row("Table 1", f"{name}: clock", "MHz", clock_mhz, ours.clock.max_hz / 1e6)
        yield Row("Table 1", f"{name}: SRAM", "KB", sram_kb, ours.ram.bytes / 1024)
        note = ""
        if name == "nucleo-f429zi":
            note = 'the "I" of its name is 2 MB by the datasheet\'s ordering information'
        yield Row("Table 1", f"{name}: flash", "KB", flash_kb, ours.flash.bytes / 1024, note=note)


def _working_sets() -> Iterator[Row]:
    found = layers()
    largest = max(found, key=lambda layer: layer.activations)
    dense = next(layer for layer in found if layer.kind == "FULLY_CONNECTED")
    yield Row("Figure 3", "layer with the largest inputs and outputs", "number", 6, largest.number)
    yield Row(
        "Figure 3", "layer with the largest weights", "number", 68, dense.number - 1,
        note="the dense layer; pooling over all pixels is not counted",
    )  # fmt: skip
    for layer in (largest, dense):
        yield Row(
            "Figure 3", f"layer {layer.number}: working set", "KiB", None,
            layer.working_set / 1024, note="plotted only",
        )  # fmt: skip
    high = rooms()[0][1]
    counts = [
        sum(layer.working_set > size for layer in found)
        for size in (load_board("nucleo-f767zi").ram.bytes, high - 1)
    ]
    yield Row(
        "Figure 3", "layers above the available SRAM, F767", "count", 2, None, min(counts),
        max(counts),
        "how much of the 512 KB was available is not said: a range over all of it and less than "
        f"{high / 1024:.0f} KiB",
    )  # fmt: skip
    for name in _BOARDS:
        size = load_board(name).ram.bytes
        over = [layer.number for layer in found if layer.working_set > size]
        told = ", ".join(map(str, over)) if len(over) < 8 else f"{over[0]} to {over[-1]}, not all"
        yield Row(
            "Working set by board", f"layers above the SRAM, {name}", "count", None, len(over),
            note=f"layers {told}",
        )  # fmt: skip


def _program() -> Iterator[Row]:
    constants = sum(layer.weights for layer in layers())
    found = estimate(network(), board(), LIBRARIES[-1], "gcc-O3")
    program = sum(part.size_bytes for part in found.flash if part.name != "model")
    yield Row(
        "Section 2", "binary of MobileNetV2 0.35 at 128", "KB", 1764, None, constants / 1024,
        (constants + program) / 1000,
        "from weights and biases alone to those with TFLM's program of the same kernels, in KB of "
        "1024 or of 1000; the paper's has Mbed OS and no interpreter",
    )  # fmt: skip


def _sizes() -> Iterator[Row]:
    packed, unpacked = squeezed_mb()
    note = "as published elsewhere; nothing to predict"
    yield Row("Section 7", "SqueezeNet, deep compressed", "MB", packed, note=note)
    yield Row("Section 7", "SqueezeNet, unpacked", "MB", unpacked, note=note)


def _movement_figures() -> Iterator[Figure]:
    rows = [row for row in movement_rows() if row.table == "Figure 4"]
    series = []
    for what in ("added operations", "written", "read back"):
        chosen = [row for row in rows if f": {what}" in row.what]
        numbers = [float(row.what.partition(":")[0].removeprefix("layer ")) for row in chosen]
        series.append(Series(what, numbers, [_middle(row) for row in chosen]))
    yield Figure(
        "svoboda-spills", "32 filters more in each of the first layers (Figure 4)", "layer", "ms",
        tuple(series), "points",
    )  # fmt: skip
    moved = list(moved_megabyte().values())
    yield Figure(
        "svoboda-megabyte", "Moving 1 MB (Figure 5)", "; ".join(moved_megabyte()), "s",
        (
            Series("fastest", range(1, len(moved) + 1), [reach.low for reach in moved]),
            Series("slowest", range(1, len(moved) + 1), [reach.high for reach in moved]),
        ),
        "points", True,
    )  # fmt: skip


def _middle(row: Row) -> float:
    """The number, or the geometric mean of a range."""
    if row.low is None or row.high is None:
        return row.predicted or 0.0
    return math.sqrt(row.low * row.high)


def _figures() -> Iterator[Figure]:
    found = layers()
    numbers = [float(layer.number) for layer in found]
    parts = {
        "inputs": [layer.inputs / 1024 for layer in found],
        "outputs": [layer.outputs / 1024 for layer in found],
        "weights": [layer.weights / 1024 for layer in found],
        "im2col": [layer.im2col / 1024 for layer in found],
    }
    yield Figure(
        "svoboda-working-set", "Working set by layer (Figures 3, 8)", "layer", "KiB",
        tuple(Series(name, numbers, sizes) for name, sizes in parts.items()),
    )  # fmt: skip
    yield from _movement_figures()
    sweep = grown()
    extra = [float(point.extra) for point in sweep]
    yield Figure(
        "svoboda-filters", "More filters in the first ten layers (Figure 8)", "filters more",
        "times the baseline",
        (
            Series("largest inputs and outputs", extra, [p.activations for p in sweep]),
            Series("MACs", extra, [p.macs for p in sweep]),
            Series("latency, all in SRAM", extra, [p.computed for p in sweep]),
            Series("latency with what spills to µSD", extra, [p.spilled for p in sweep]),
        ),
    )  # fmt: skip
    yield Figure(
        "svoboda-card", "Writing to µSD (Figure 6)", "SPI clock in Hz", "mJ",
        tuple(
            Series(
                f"{size:,} bytes", _CLOCKS_HZ,
                [1e3 * card_energy_j(size, clock).middle for clock in _CLOCKS_HZ],
            )
            for size in FILES
        ),
        logarithmic=True,
    )  # fmt: skip
    times = [1e3 * priced_format(name).total for name in FORMATS]
    yield Figure(
        "svoboda-formats", "MobileNetV2 0.35 on the F767 (Figure 7)",
        "Q with SIMD, Q without; affine; code book by table, by bit", "ms",
        (Series("predicted", range(len(times)), times),),
        "bars",
    )  # fmt: skip
