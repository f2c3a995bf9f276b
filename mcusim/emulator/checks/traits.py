"""What layers have in common on which a function goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from mcusim.emulator.checks.contract import Case
from mcusim.emulator.checks.outcomes import CaseCheck

__all__ = ["shared_trait", "traits_of"]

_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "TRANSPOSE_CONV")
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
#: Layers on each side at least, so that what separates them is no accident.
_LEAST = 2
#: Share of the right layers that may have a trait of the wrong ones: an error need not show.
_MOST_SHARE = 0.2


def traits_of(case: Case) -> frozenset[str]:
    """What may make a function go wrong on a layer, in words."""
    return frozenset(words for words, holds in _traits(case) if holds)


def _traits(case: Case) -> Iterator[tuple[str, bool]]:
    node = case.node
    shape = node.output().shape
    channels, length = shape[-1], prod(shape)
    if node.name in _WINDOWED:
        option = node.options.integer
        strides = option("stride_h", 1), option("stride_w", 1)
        dilations = option("dilation_h_factor", 1), option("dilation_w_factor", 1)
        yield "several images", shape[0] > 1
        yield "a dilation", max(dilations) > 1
        yield "two strides that differ", strides[0] != strides[1]
        yield "a stride over 1", max(strides) > 1
        filters = node.optional_input(1)
        if node.name == "CONV_2D" and filters is not None:
            yield "several groups", filters.shape[3] != node.input(0).shape[3]
        yield "padding SAME", node.options.text("padding", "SAME") == "SAME"
        yield "several filters a channel", option("depth_multiplier", 1) > 1
        yield "channels that are no multiple of 4", channels % 4 != 0
        yield "channels that are no multiple of 2", channels % 2 != 0
    else:
        yield "several rows", prod(shape[:-1]) > 1
        yield "a last row of values that are no multiple of 4", length % 4 != 0
        yield "an odd number of values", length % 2 != 0
    if node.name in _BIAS:
        yield "no bias", case.optional(_BIAS[node.name]) is None
    activation = node.options.text("fused_activation_function", "NONE")
    yield "a fused activation", activation not in ("NONE", "TANH")
    source = case.values[0]
    if source is not None and source.dtype in (np.int8, np.int16) and source.size > 3:
        limits = np.iinfo(source.dtype)
        yield (
            "inputs at the limits of their type",
            bool(np.isin(source, (limits.min, limits.max)).all()),
        )


def shared_trait(cases: Sequence[CaseCheck]) -> tuple[str, int] | None:
    """What all the wrong cases have and few of the right ones, and how many of these."""
    wrong = [case.traits for case in cases if not case.is_right]
    right = [case.traits for case in cases if case.is_right]
    if min(len(wrong), len(right)) < _LEAST:
        return None
    common = sorted(frozenset.intersection(*wrong))
    found = ((sum(trait in other for other in right), trait) for trait in common)
    least, trait = min(found, default=(len(right), ""))
    return (trait, least) if least <= _MOST_SHARE * len(right) else None
