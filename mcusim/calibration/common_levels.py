"""Levels of code that kernels have in common, and the kernel whose counted rows tell it best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SHARED_PREFIX", "TWINS", "Lean", "leans"]

#: Levels that begin so are turns of one library function, memcpy, whichever kernel calls it.
SHARED_PREFIX = "copy."

#: Operators that are one piece of code but for what they do to an element, fitted together.
TWINS = (("maximum", "minimum"),)


@dataclass(frozen=True)
class Lean:
    """A level of a profile that costs about what another profile's level costs.

    Attributes:
        level: of the profile that leans.
        source: profile that it leans on; empty when the level is other code on each type, and so
            leans on none.
        source_level: the level there.
    """

    level: str
    source: str
    source_level: str


_ARITHMETIC = (
    "add_int8",
    "add_int16",
    "add_float32",
    "sub_int8",
    "sub_float32",
    "mul_int16",
    "mul_float32",
    "maximum_int8",
)
_BROADCAST = ("broadcast", "broadcast.dimension", "broadcast.loop", "row", "nest")
_POOLING = ("row", "pixel", "tap_row")
_LSTM = "unidirectional_sequence_lstm_float32"

#: By source: its levels, as "theirs" or "own=theirs", and the profiles that lean on it there.
_TOLD_BY: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "add_int8",
        ("dimension.short",),
        ("add_int16", "sub_int8", "mul_int8", "mul_int16", "mul_float32"),
    ),
    ("sub_int8", ("dimension.short",), ("add_int8",)),
    ("mul_float32", ("dimension.short",), ("add_float32", "sub_float32")),
    ("add_float32", ("dimension.short",), ("mul_float32",)),
    (
        "mul_int8",
        _BROADCAST,
        _ARITHMETIC,
    ),
    ("add_int8", ("nest",), ("mul_int8",)),
    (
        "maximum_int8",
        (*_BROADCAST, "call", "dimension"),
        ("maximum_float32", "minimum_float32"),
    ),
    ("relu_float32", ("call", "dimension"), ("leaky_relu_float32", "hard_swish_float32")),
    ("quantize_int8", ("call", "dimension"), ("quantize_int16",)),
    ("relu_int8", ("scaled_down",), ("quantize_int8",)),
    ("tanh_int8", ("saturated",), ("logistic_int8",)),
    ("tanh_int16", ("saturated",), ("logistic_int16",)),
    ("fully_connected_float32", ("product", "output"), ("batch_matmul_float32",)),
    (
        "fully_connected_float32",
        ("feature_product=product", "time_product=product"),
        ("svdf_float32",),
    ),
    (
        "fully_connected_float32",
        ("input_product=product", "recurrent_product=product"),
        (_LSTM,),
    ),
    ("average_pool_2d_float32", _POOLING, ("average_pool_2d_int16",)),
    ("max_pool_2d_float32", _POOLING, ("max_pool_2d_int16",)),
    ("", ("filter", "unit"), ("svdf_float32",)),
    ("", ("unit",), (_LSTM,)),
    ("", ("output",), ("average_pool_2d_int16", "max_pool_2d_int16")),
)


def leans(profile: str) -> Iterator[Lean]:
    """Levels of a profile that another one tells better than the same kernel on another type."""
    folder, _, stem = profile.rpartition("/")
    for source, levels, names in _TOLD_BY:
        if stem in names:
            for level in levels:
                own, _, theirs = level.partition("=")
                yield Lean(own, source and f"{folder}/{source}", theirs or own)
