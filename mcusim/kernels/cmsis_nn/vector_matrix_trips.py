"""Loop turns of a vector times the rows of a matrix, which dense layers of CMSIS-NN call."""

from __future__ import annotations

from dataclasses import dataclass, field

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Generation
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling

__all__ = [
    "INT16_COLUMNS_IN_INT32",
    "VectorByMatrix",
    "vec_mat_mult_t_s4_trips",
    "vec_mat_mult_t_s8_trips",
    "vec_mat_mult_t_s16_trips",
    "vec_mat_mult_t_svdf_s8_trips",
    "vector_sum_trips",
]

#: Columns that the code for int16 sums in int32; beyond them it takes one by one, in int64.
INT16_COLUMNS_IN_INT32 = 512
_MVE_INT8_LANES = 16
_MVE_INT16_LANES = 8
#: Rows that MVE code sums at a time.
_MVE_SUMS = 5


@dataclass(frozen=True)
class VectorByMatrix:
    """What the loops of a product of a vector with a matrix depend on.

    Attributes:
        outputs: rows of the matrix.
        columns: products of an output.
        moves_filter: whether an offset is added to the weights, which is other code.
        per_channel: whether each output has a scale of its own, which is another function.
        scaling: of the outputs.
    """

    outputs: int
    columns: int
    moves_filter: bool = False
    per_channel: bool = False
    scaling: Scaling = field(default_factory=Scaling)

    @property
    def function(self) -> str:
        """The library function for int8."""
        return f"arm_nn_vec_mat_mult_t_{'per_ch_' if self.per_channel else ''}s8"

    @property
    def profile(self) -> str:
        """What prices it: an offset of the weights takes another half of the function."""
        return f"{self.function}{'_filter_offset' if self.moves_filter else ''}"


def vec_mat_mult_t_s8_trips(
    calls: int, product: VectorByMatrix, simd: Simd, generation: Generation = "2026"
) -> dict[str, float]:
    """Turns of ``arm_nn_vec_mat_mult_t_s8`` and of its twin for scales by channel.

    Without DSP three outputs are computed at a time, with DSP two, with MVE four. With DSP columns
    go four at a time, which GCC unrolls by four after what is left of four turns, and single ones
    after that; in 2020 it was 16 at a time, and single ones.
    """
    tile = {"none": 3, "dsp": 2, "mve": 4}[simd]
    tiles, odd = divmod(product.outputs, tile)
    trips: dict[str, float] = {
        "call": calls,
        "tiles": calls * (tiles > 0),
        "tile": calls * tiles,
        "odds": calls * (odd > 0),
        "odd": calls * odd,
        "tile.bias": calls * tiles * product.scaling.has_bias,
        "odd.bias": calls * odd * product.scaling.has_bias,
        **product.scaling.turns(calls * tiles * tile, "tile."),
        **product.scaling.turns(calls * odd, "odd."),
    }
    columns = product.columns
    if simd == "none":
        return trips | {
            "tile.product": calls * tiles * columns,
            "odd.product": calls * odd * columns,
            # M0+ divides the number of outputs by three in software.
            "long_division": calls * (product.outputs >= 2 * tile),
        }
    if simd == "mve":
        steps = -(-columns // _MVE_INT8_LANES)
        return trips | {"tile.step": calls * tiles * steps, "odd.step": calls * odd * steps}
    split = _in_blocks if generation in ("2020", "2020apr") else _unrolled
    return trips | split("tile", calls * tiles, columns) | split("odd", calls * odd, columns)


def _in_blocks(level: str, turns: int, columns: int) -> dict[str, float]:
    """Columns in steps of 16, and single ones after that."""
    blocks, left = divmod(columns, 16)
    return {
        f"{level}.block": turns * blocks,
        f"{level}.blocks": turns * (blocks > 0),
        f"{level}.no_block": turns * (blocks == 0),
        **_singles(level, turns, left),
    }


def _singles(level: str, turns: int, left: int) -> dict[str, float]:
    """A loop over single columns, or the branch past it."""
    return {
        f"{level}.single": turns * left,
        f"{level}.singles": turns * (left > 0),
        f"{level}.no_single": turns * (left == 0),
    }


def _unrolled(level: str, turns: int, columns: int) -> dict[str, float]:
    """Columns in steps of four, which GCC takes four at a time, and single ones after that."""
    quads, left = divmod(columns, 4)
    fours, peeled = divmod(quads, 4)
    return {
        f"{level}.quad": turns * quads,
        f"{level}.no_quad": turns * (quads == 0),
        f"{level}.four": turns * fours,
        f"{level}.fours": turns * (fours > 0),
        f"{level}.no_four": turns * (fours == 0 < quads),
        **{f"{level}.peeled_{n}": turns * (peeled == n and quads > 0) for n in range(4)},
        **{f"{level}.left_{n}": turns * (left == n) for n in range(4)},
    }


def vec_mat_mult_t_s16_trips(calls: int, product: VectorByMatrix, simd: Simd) -> dict[str, float]:
    """Turns of ``arm_nn_vec_mat_mult_t_s16``: one output at a time, with DSP two, with MVE four."""
    if simd == "none":
        return {
            "call": calls,
            "output": calls * product.outputs,
            "output.bias": calls * product.outputs * product.scaling.has_bias,
            "output.product": calls * product.outputs * product.columns,
        }
    tile = 2 if simd == "dsp" else 4
    tiles, odd = divmod(product.outputs, tile)
    fast = min(product.columns, INT16_COLUMNS_IN_INT32)
    trips: dict[str, float] = {"call": calls, "tiles": calls * (tiles > 0)}
    for level, times in (("tile", tiles), ("odd", odd)):
        trips[level] = calls * times
        trips[f"{level}.bias"] = calls * times * product.scaling.has_bias
        if simd == "mve":
            trips[f"{level}.step"] = calls * times * -(-fast // _MVE_INT16_LANES)
            trips[f"{level}.slow"] = calls * times * (product.columns - fast)
            continue
        quads = fast // 4
        left = product.columns - 4 * quads
        trips |= {
            f"{level}.quad": calls * times * quads,
            f"{level}.quads": calls * times * (quads > 0),
            f"{level}.no_quad": calls * times * (quads == 0),
            **_singles(level, calls * times, left),
        }
    return trips


def vec_mat_mult_t_svdf_s8_trips(
    calls: int, product: VectorByMatrix, simd: Simd
) -> dict[str, float]:
    """Turns of ``arm_nn_vec_mat_mult_t_svdf_s8``, whose outputs are int16.

    With DSP two outputs take 16 columns at a time, then four, then one; an odd one four, then one.
    """
    tile = 2 if simd == "dsp" else 3
    tiles, odd = divmod(product.outputs, tile)
    trips: dict[str, float] = {
        "call": calls,
        "tiles": calls * (tiles > 0),
        "tile": calls * tiles,
        "odd": calls * odd,
    }
    if simd == "none":
        return trips | {
            "tile.product": calls * tiles * product.columns,
            "odd.product": calls * odd * product.columns,
            "long_division": calls * (product.outputs >= 2 * tile),
        }
    if simd == "mve":
        steps = -(-product.columns // _MVE_INT8_LANES)
        return trips | {"tile.step": calls * tiles * steps, "odd.step": calls * odd * steps}
    blocks, rest = divmod(product.columns, 16)
    quads, left = divmod(rest, 4)
    trips |= {
        "tile.block": calls * tiles * blocks,
        "tile.quad": calls * tiles * quads,
        "odd.quad": calls * odd * (product.columns // 4),
        **{f"tile.left_{n}": calls * tiles * (left == n) for n in range(4)},
        **{f"odd.left_{n}": calls * odd * (left == n) for n in range(4)},
    }
    return trips


def vec_mat_mult_t_s4_trips(calls: int, product: VectorByMatrix, simd: Simd) -> dict[str, float]:
    """Turns of ``arm_nn_vec_mat_mult_t_s4``: four outputs at a time, in two pairs, then single.

    A row of an odd number of columns ends within a byte, with which the next row begins.
    """
    tiles, odd = divmod(product.outputs, 4)
    columns = product.columns
    trips: dict[str, float] = {"call": calls, "tile": calls * tiles, "odd": calls * odd}
    if simd == "mve":
        blocks = columns // 32 + (columns % 32 >= 16) + (columns % 16 > 0)
        return trips | {
            "tile.block": 2 * calls * tiles * blocks,
            "odd.block": calls * odd * blocks,
            "tile.split": calls * tiles * (columns % 2),
        }
    together = 4 if simd == "dsp" else 2
    return trips | {
        "tile.step": 2 * calls * tiles * (columns // together),
        "tile.left": 2 * calls * tiles * (columns % together),
        "odd.step": calls * odd * (columns // together),
        "odd.left": calls * odd * (columns % together),
    }


def vector_sum_trips(calls: int, rows: int, columns: int, has_offset: bool) -> dict[str, float]:
    """Turns of ``arm_vector_sum_s8`` with MVE: sums of the weights, five rows at a time."""
    fives, single = divmod(rows, _MVE_SUMS) if has_offset else (0, 0)
    steps = -(-columns // _MVE_INT8_LANES)
    return {
        "call": calls,
        "row": calls * rows,
        "five": calls * fives,
        "five.step": calls * fives * steps,
        "single": calls * single,
        "single.step": calls * single * steps,
    }
