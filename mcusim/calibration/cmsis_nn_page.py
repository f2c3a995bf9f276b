"""Writes the page on CMSIS-NN's non-uniformities, with its plots, from predictions.

``python -m mcusim.calibration.cmsis_nn_page --docs FOLDER``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcusim.calibration.held_out_tables import held_out_section
from mcusim.calibration.line_plot import line_plot
from mcusim.calibration.shape_curves import (
    convolution,
    convolution_shape,
    dense,
    depthwise,
)
from mcusim.kernels.cmsis_nn.alignment import misaligned_columns

__all__ = ["PAGE", "main", "pages"]

#: The page, beneath the folder that the plots go to.
PAGE = "cmsis-nn.md"

_PIXELS = 36
_HEAD = """# What a MAC costs in CMSIS-NN

*Written by `python -m mcusim.calibration.cmsis_nn_page --docs docs`; do not edit.
`tests/test_cmsis_nn_shapes.py` holds each statement.*

How long a layer takes is not its number of MACs times a constant. The library chooses a kernel by
shape, each kernel multiplies in groups of 2, 4 or 16, and what is left over runs one product at a
time. Nothing below is stored: every figure is the loop counts of a shape times what one turn of
each loop executes (Cortex-M4, GCC 12.2 at -O3, calls of the library outside TFLM; 2026 where no
year is named).

`mcusim run MODEL --board BOARD --runtime cmsis-nn --why` tells for each layer which kernel runs,
why, and how much scratch memory it takes. `--runtime cmsis-nn@2020` (`@2021`, `@2022`) asks an
older library.
`mcusim verify MODEL` compares the bits of two runtimes and names the rounding step that differs.
"""


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    file: str
    plot: str


def pages() -> dict[str, str]:
    """Files of the page by their path below the folder: the text, and a plot a section."""
    sections = [write() for write in _SECTIONS]
    text = [f"## {s.title}\n\n{s.text}\n\n![{s.title}]({s.file})\n" for s in sections]
    files = {PAGE: "\n".join([_HEAD, *text, held_out_section()])}
    return files | {section.file: section.plot for section in sections}


def _small_channels() -> _Section:
    channels = range(1, 33)
    costs = {c: _per_mac(c) for c in channels}
    shown = (1, 2, 3, 4, 8, 16)
    return _Section(
        "Few input channels are dear",
        f"A 3×3 convolution with {_listed(map(str, shown))} input channels costs "
        f"{_listed(f'{costs[c]:.1f}' for c in shown)} instructions a MAC: gathering the column "
        "takes a "
        "call of `memcpy` for each tap, and requantization about the same for every output, "
        "however "
        "short its sum.",
        "plots/small-channels.svg",
        line_plot(
            "3×3 convolution to 8 channels, 6×6 pixels",
            "input channels",
            "instructions a MAC",
            {"": _points(channels, costs.__getitem__)},
        ),
    )


def _more_channels() -> _Section:
    channels = range(1, 33)
    faster = {
        kernel: [
            c
            for c in channels[1:]
            if convolution(c, kernel=kernel) < convolution(c - 1, kernel=kernel)
        ]
        for kernel in (1, 3)
    }
    return _Section(
        "A convolution gets faster with a channel more",
        "Sums run in groups of four products, and what is left runs one by one. With one input "
        "channel "
        f"more a 1×1 convolution gets faster at {_listed(map(str, faster[1]))} channels, a 3×3 "
        "one at "
        f"{_listed(map(str, faster[3]))}.",
        "plots/more-channels.svg",
        line_plot(
            "Convolution to 8 channels, 6×6 pixels",
            "input channels",
            "instructions",
            {
                "3×3": _points(channels, convolution),
                "1×1": _points(channels, lambda c: convolution(c, kernel=1)),
            },
        ),
    )


def _dense() -> _Section:
    inputs = range(64, 129)
    first, fourth = dense(68) - dense(64), dense(80) - dense(76)
    return _Section(
        "A dense layer has a period of 4 and one of 16",
        "Products run in fours, a remainder one by one: three inputs beyond a multiple of four "
        "take "
        "longer than four. The compiler unrolls the loop over fours four times, so that the step "
        "to the "
        f"next multiple of four takes {first:.0f} instructions after a multiple of 16, and "
        f"{fourth:.0f} before the next one (8 outputs).",
        "plots/dense.svg",
        line_plot(
            "Dense layer with 8 outputs", "inputs", "instructions", {"": _points(inputs, dense)}
        ),
    )


def _dense_2020() -> _Section:
    inputs = range(64, 129)
    total = {k: dense(k, generation="2020") for k in range(64, 129)}
    slower = [k - 96 for k in range(96, 112) if total[k] > total[112]]
    return _Section(
        "In 2020 the dense layer's period is 16, in clusters of 9 and 7",
        "The library of 2020 multiplies in blocks of 16 and runs the rest one by one. For "
        f"{len(slower)} of 16 residues ({slower[0]} to {slower[-1]}) it is faster to add inputs "
        "up to "
        f"the next multiple of 16, for {16 - len(slower)} it is not. Clusters of 9 and 7 residues "
        "are what was measured on boards with the library of that time, by a paper that does not "
        "say "
        "which residues they are.",
        "plots/dense-2020.svg",
        line_plot(
            "Dense layer with 8 outputs",
            "inputs",
            "instructions",
            {"2020": _points(inputs, total.__getitem__), "2026": _points(inputs, dense)},
        ),
    )


def _depthwise() -> _Section:
    channels = range(4, 65, 4)

    def gain(cost: Callable[..., float]) -> Callable[[int], float]:
        return lambda c: cost(c, core="m3") / cost(c)

    return _Section(
        "Depthwise convolutions gain little from SIMD",
        "A Cortex-M3 has no SIMD instructions. With 32 channels an ordinary 3×3 convolution takes "
        f"{gain(convolution)(32):.2f} times the instructions of a Cortex-M4 there, a depthwise one "
        f"{gain(depthwise)(32):.2f} times: each channel has a sum of its own, so that no "
        "instruction "
        "multiplies two products of one sum.",
        "plots/depthwise.svg",
        line_plot(
            "Cortex-M3 over Cortex-M4, 6×6 pixels",
            "channels",
            "ratio of instructions",
            {
                "3×3": _points(channels, gain(convolution)),
                "depthwise": _points(channels, gain(depthwise)),
            },
        ),
    )


def _odd_channel() -> _Section:
    channels = range(2, 33)

    def total(out_channels: int) -> float:
        return convolution(16, out_channels, kernel=1, extent=4)

    return _Section(
        "The odd output channel of a 1×1 convolution is scalar",
        "Two output channels share a loop of SIMD instructions; the last one of an odd number "
        "runs one "
        f"product at a time. 4×4 pixels of 16 channels take {total(9):,.0f} instructions to 9 "
        "channels "
        f"and {total(10):,.0f} to 10.",
        "plots/odd-channel.svg",
        line_plot(
            "1×1 convolution from 16 channels, 4×4 pixels",
            "output channels",
            "instructions",
            {"": _points(channels, total)},
        ),
    )


def _unaligned() -> _Section:
    channels = range(1, 33)

    def share(in_channels: int) -> float:
        shape = convolution_shape(in_channels)
        macs = shape.pixels * shape.taps * shape.in_channels * shape.out_channels
        return misaligned_columns(shape).further_accesses / macs

    return _Section(
        "Rows of a filter that begin between words",
        "The kernels load four weights as a word, wherever it lies. Where the length of a filter "
        "is no "
        "multiple of four most of its rows begin at an address that is none, and such a word "
        "takes one "
        "access of memory more at an even address and two at an odd one, without any further "
        f"instruction: {share(4):g} a MAC with 4 input channels, {share(6):.2f} with 6, "
        f"{share(7):.2f} with 7. On a Cortex-M4 each takes a cycle.",
        "plots/unaligned.svg",
        line_plot(
            "3×3 convolution to 8 channels, 6×6 pixels",
            "input channels",
            "further accesses a MAC",
            {"": _points(channels, share)},
        ),
    )


_SECTIONS: tuple[Callable[[], _Section], ...] = (
    _small_channels,
    _more_channels,
    _dense,
    _dense_2020,
    _depthwise,
    _odd_channel,
    _unaligned,
)


def _per_mac(channels: int) -> float:
    return convolution(channels) / (_PIXELS * 9 * 8 * channels)


def _points(xs: Iterable[int], y: Callable[[int], float]) -> list[tuple[float, float]]:
    return [(x, y(x)) for x in xs]


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="cmsis_nn_page", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args(arguments)
    for name, content in pages().items():
        path = options.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        sys.stdout.write(f"written: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
