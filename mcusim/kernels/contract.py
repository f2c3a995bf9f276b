"""What every kernel offers: results, and the trip counts that price it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from mcusim.errors import McusimError, ModelError
from mcusim.graph import Array, DType, Node

__all__ = ["Binder", "BoundKernel", "Kernel", "KernelCall", "Trips", "placed"]

#: How often each loop level of a kernel runs, by level; a fraction is a mean over data.
Trips: TypeAlias = Mapping[str, float]

#: An operator prepared for one node. Every array, in and out, has one extra leading axis: the
#: independent inferences of a batch. A constant input arrives with a leading axis of 1; an input
#: left out is None. Outputs are new arrays (or read-only views) of the outputs' dtypes.
BoundKernel: TypeAlias = Callable[[Sequence[Array | None]], Sequence[Array]]

#: Types of stored values that a scale and a zero point make real.
_STORED = frozenset((DType.INT4, DType.INT8, DType.UINT8, DType.INT16))

#: What is left to do once a node has passed the library's Prepare: tables, repacked weights and
#: compiled loops. An estimate does without it.
Binder: TypeAlias = Callable[[], BoundKernel]


@dataclass(frozen=True)
class KernelCall:
    """One kernel that a runtime executes for a layer.

    Attributes:
        kernel: the function's name in its library.
        profile: name of the profile that prices it, ``"<library>/<kernel>_<type>"``, the stem of a
            file in the top-level ``kernels/`` folder; empty when there is none.
        trips: how often each loop level of the profile runs.
        macs: multiply-accumulates, those on padding included.
        reason: why the runtime chose this kernel, in words.
        warnings: what a user must know, such as a defect of the library.
        stored_bytes: size in memory of its weights, where they are not stored as the tensor is.
        read_bytes: what it reads of them then, with what it reads to find them.
    """

    kernel: str
    profile: str
    trips: Trips = field(default_factory=dict)
    macs: int = 0
    reason: str = ""
    warnings: tuple[str, ...] = ()
    stored_bytes: int = 0
    read_bytes: int = 0


@dataclass(frozen=True)
class Kernel:
    """One operator as a library implements it.

    Attributes:
        operator: the schema's name.
        prepare: the library's Prepare: checks types, shapes, options and quantization as the
            library does, and what its Eval refuses of constants. Imports no compiler, allocates
            little. Raises :class:`~mcusim.errors.UnsupportedOperatorError` where the library
            refuses the node.
        count: names the kernel and counts the loops of a node that passed ``prepare``; touches no
            data, allocates nothing.
    """

    operator: str
    prepare: Callable[[Node], Binder]
    count: Callable[[Node], KernelCall]

    def bind(self, node: Node) -> BoundKernel:
        """Prepare a node and return what runs it.

        Raises:
            UnsupportedOperatorError: the library refuses the node.
            ModelError: the node makes no sense.
        """
        binder = self._prepared(node)
        try:
            return binder()
        except McusimError as error:
            raise placed(error, node) from None

    def call(self, node: Node) -> KernelCall:
        """Prepare a node and count its loops.

        Raises:
            UnsupportedOperatorError: the library refuses the node, in the words of :meth:`bind`.
            ModelError: the node makes no sense.
        """
        self._prepared(node)
        return self.count(node)

    def check(self, node: Node) -> None:
        """Raise what :meth:`bind` and :meth:`call` raise."""
        self._prepared(node)

    def _prepared(self, node: Node) -> Binder:
        try:
            binder = self.prepare(node)
        except McusimError as error:
            raise placed(error, node) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            _check_quantization(node)
            raise ModelError(
                f"operator {node.index} ({node.name}): its tensors or options make no sense to "
                f"the kernel ({error})"
            ) from error
        _check_quantization(node)
        return binder


def placed(error: McusimError, node: Node) -> McusimError:
    """The error with its operator named, where its text does not."""
    if f"operator {node.index} (" in str(error) or ": operator " in str(error):
        return error
    return type(error)(f"operator {node.index} ({node.name}): {error}")


@lru_cache(maxsize=1024)
def _in_range(dtype: DType, points: tuple[int, int]) -> bool:
    limits = np.iinfo(dtype.numpy)
    return bool(limits.min <= points[0] <= points[1] <= limits.max)


def _check_quantization(node: Node) -> None:
    """Refuse scales and zero points with which the libraries' int32 arithmetic overflows.

    No converter writes them, and what a device computes from them the language leaves open.

    Raises:
        ModelError: a scale is negative or not finite, or a zero point is no value of its type.
    """
    for tensor in (*node.inputs, *node.outputs):
        if tensor is None or tensor.quantization is None or tensor.dtype not in _STORED:
            continue
        scales, points = tensor.quantization.scale_range, tensor.quantization.zero_point_range
        where = f"operator {node.index} ({node.name}): tensor {tensor.name!r}"
        if scales and not 0 <= scales[0] <= scales[1] < math.inf:
            raise ModelError(f"{where} has a scale that is negative or not finite")
        if points and not _in_range(tensor.dtype, points):
            raise ModelError(f"{where} has a zero point that is no {tensor.dtype.value}")
