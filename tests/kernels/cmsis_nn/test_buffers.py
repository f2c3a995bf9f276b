"""Scratch sizes against what the library's own size functions returned when it was compiled."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from mcusim.kernels.cmsis_nn import buffers
from mcusim.kernels.cmsis_nn.buffers import ConvolutionShape, Simd, convolve_wrapper_s8_bytes
from tests.shared import SHARED, needs_shared


@pytest.mark.parametrize(
    ("shape", "none", "mve"),
    [
        # 1x1 without padding multiplies the image as it is.
        (ConvolutionShape(1, 8, 8, 5, 1, 1, 5, 8, 4, stride_h=2, stride_w=2), 0, 0),
        # Two int16 columns of 5 * 3 * 3, padded to words; with MVE four of int8, padded to 16.
        (ConvolutionShape(1, 8, 8, 5, 3, 3, 5, 6, 4), 2 * 2 * 48, 4 * 48),
        # A row of a signal with one column of padding on each side, which MVE copies apart.
        (ConvolutionShape(1, 1, 9, 4, 1, 3, 4, 9, 4, pad_w=1), 2 * 2 * 12, 4 * 4),
    ],
)
def test_convolution_buffers_worked_by_hand(shape: ConvolutionShape, none: int, mve: int):
    assert convolve_wrapper_s8_bytes(shape, "none") == none
    assert convolve_wrapper_s8_bytes(shape, "dsp") == none
    assert convolve_wrapper_s8_bytes(shape, "mve") == mve


def _shape(row: dict[str, str]) -> ConvolutionShape:
    def number(column: str, missing: int = 1) -> int:
        return int(row[column] or missing)

    return ConvolutionShape(
        number("in_n"),
        number("in_h"),
        number("in_w"),
        number("in_c"),
        number("k_h"),
        number("k_w"),
        number("in_c") // number("groups"),
        number("out_w"),
        number("out_c"),
        number("stride_h"),
        number("stride_w"),
        number("pad_h", 0),
        number("pad_w", 0),
        number("dil_h"),
        number("dil_w"),
    )


def _bytes(operator: str, shape: ConvolutionShape, simd: Simd) -> int | None:
    match operator:
        case "conv_s8":
            return buffers.convolve_wrapper_s8_bytes(shape, simd)
        case "conv_s16":
            return buffers.convolve_s16_bytes(shape, simd)
        case "dwconv_s8":
            return buffers.depthwise_wrapper_s8_bytes(shape, simd)
        case "fc_s8":
            return buffers.fully_connected_s8_bytes(shape.out_c, simd)
        case "avgpool_s8":
            return buffers.avgpool_bytes(shape.in_c, simd)
        case "tconv_s8":
            whole = buffers.transpose_conv_s8_bytes(shape, simd)
            return whole + buffers.transpose_conv_s8_reverse_bytes(shape)
    return None


@needs_shared
def test_every_counted_kernel_asks_for_what_we_say():
    with (SHARED / "golden" / "cmsis_nn" / "cases.csv").open() as f:
        cases = {row["id"]: row for row in csv.DictReader(f)}
    counted = {(i, s): int(c["scratch_" + b]) for i, c in cases.items() for s, b in _BUILDS}
    with (SHARED / "counted" / "cmsis_nn_kernels_m55.csv").open() as f:
        for row in csv.DictReader(f):
            if row["build"] == "m55_O3" and row["scratch_bytes"]:
                counted[row["id"], "mve"] = sum(map(int, row["scratch_bytes"].split("+")))
    exact: Counter[tuple[str, Simd]] = Counter()
    wrong = []
    for (case, simd), size in counted.items():
        operator = cases[case]["op"]
        ours = _bytes(operator, _shape(cases[case]), simd)
        if ours == size:
            exact[operator, simd] += 1
        elif ours is not None:
            wrong.append(f"{case} {simd}: {ours}, counted {size}")
    assert not wrong
    assert len(exact) == 6 * 3


_BUILDS: tuple[tuple[Simd, str], ...] = (("dsp", "m4"), ("none", "m0plus"))
