"""The matrix products of CMSIS-NN's int16 convolutions, loop by loop as the library runs them."""

from __future__ import annotations

from collections.abc import Sequence

from mcusim.kernels.cmsis_nn.matrix_mirror import Mirror, Row, int32, sums_of

__all__ = ["left_over_s16", "pixel_pair_s16", "products_nt_t_s16"]

#: Products that are summed in 32 bits where sums have 64.
_LONGEST_NARROW_SUM = 512
_MVE_TILE = 4


def left_over_s16(mirror: Mirror, function: str, filters: Sequence[Row], column: Row) -> list[int]:
    """As :func:`left_over`, of int16: it sums in 32 bits, however many products there are."""
    mirror.count(function, "left")
    outputs = []
    for channel, weights in enumerate(filters):
        mirror.count(function, "left.output")
        mirror.count(function, "left.bias", int(mirror.bias is not None))
        mirror.count(function, "left.narrow", int(not mirror.is_wide))
        ((total,),) = sums_of(mirror, function, "left", [weights], [column], [0], True)
        outputs.append(_output(mirror, total, channel, function, "left.right_shift"))
    return outputs


def pixel_pair_s16(
    mirror: Mirror, filters: Sequence[Row], columns: Sequence[Row]
) -> list[list[int]]:
    """``arm_nn_mat_mult_kernel_s16``: as :func:`pixel_pair`; the bias comes last.

    With an int64 bias it sums 512 products in 32 bits, and the others one by one in 64.
    """
    function = "arm_nn_mat_mult_kernel_s16"
    mirror.count(function, "call")
    outputs: list[list[int]] = [[], []]
    length = len(filters[0])
    fast = min(length, _LONGEST_NARROW_SUM) if mirror.is_wide else length
    for at in range(0, len(filters), 2):
        group = list(filters[at : at + 2])
        level = "tile" if len(group) == 2 else "odd_tile"
        mirror.count(function, level)
        if level == "odd_tile" and at:
            mirror.count(function, "odd_tile.after")
        if mirror.bias is not None:
            mirror.count(function, f"{level}.bias")
        mirror.count(function, f"{level}.narrow", int(not mirror.is_wide))
        mirror.count(function, f"{level}.wide_product", length - fast)
        short = [weights[:fast] for weights in group]
        parts = [column[:fast] for column in columns]
        sums = sums_of(mirror, function, level, short, parts, [0] * len(group), True)
        for channel, (weights, totals) in enumerate(zip(group, sums, strict=True), at):
            for pixel in (0, 1):
                rest = zip(weights[fast:], columns[pixel][fast:], strict=True)
                total = totals[pixel] + sum(weight * value for weight, value in rest)
                outputs[pixel].append(_output(mirror, total, channel, function))
    return outputs


def _output(
    mirror: Mirror, total: int, channel: int, function: str, level: str = "right_shift"
) -> int:
    """Add the bias to a sum of int16 products and requantize it."""
    total += 0 if mirror.bias is None else int(mirror.bias[channel])
    if not mirror.is_wide:
        return mirror.output(total, channel, function, level)
    mirror.count_shift(channel, function, level)
    return mirror.output_wide(total, channel)


def products_nt_t_s16(
    mirror: Mirror, filters: Sequence[Row], rows: Sequence[Row]
) -> list[list[int]]:
    """``arm_nn_mat_mult_nt_t_s16``, with MVE only: four pixels at a time, then one."""
    function = "arm_nn_mat_mult_nt_t_s16"
    mirror.count(function, "call")
    length = len(filters[0])
    fast = min(length, _LONGEST_NARROW_SUM) if mirror.is_wide else length
    outputs: list[list[int]] = [[] for _ in rows]
    whole = len(rows) // _MVE_TILE * _MVE_TILE
    starts = list(range(0, whole, _MVE_TILE)) + list(range(whole, len(rows)))
    for start in starts:
        pixels = range(start, start + _MVE_TILE) if start < whole else range(start, start + 1)
        level = "four_rows" if start < whole else "row"
        mirror.count(function, level)
        for channel, weights in enumerate(filters):
            mirror.count(function, f"{level}.filter")
            mirror.count(function, f"{level}.narrow", int(not mirror.is_wide))
            mirror.count(function, f"{level}.step", -(-fast // 8))
            mirror.count(function, f"{level}.wide_product", length - fast)
            for pixel in pixels:
                values = rows[pixel]
                narrow = zip(weights[:fast], values[:fast], strict=True)
                total = int32(sum(w * x for w, x in narrow))
                total += sum(w * x for w, x in zip(weights[fast:], values[fast:], strict=True))
                outputs[pixel].append(_output(mirror, total, channel, function))
    return outputs
