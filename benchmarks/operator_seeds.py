"""Models of one operator, sound ones, that the fuzzer of operators damages."""

from __future__ import annotations

import zipfile
from functools import cache

import numpy as np

from mcusim import tflite
from mcusim.graph import DType, Graph, Options, OptionValue, Quantization, Tensor
from tests.oracles import activation, constant, quantized, single_operator
from tests.shared import SHARED

__all__ = ["seeds"]

_Q = quantized(0.05, 3)
_FLOAT_UNARY = ("NEG", "SQRT", "SQUARE", "EXP", "LOG", "SIN", "COS", "ROUND", "FLOOR", "CEIL")
_COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
#: Largest models of the shared folder that are worth the time, in elements.
_MOST_ELEMENTS = 6_000


def _fed(*shape: int, dtype: DType = DType.INT8, q: Quantization | None = _Q) -> Tensor:
    stored = dtype in (DType.INT8, DType.INT16)
    quantization = quantized(0.05) if q is _Q and dtype is DType.INT16 else q
    return activation(shape, dtype, quantization if stored else None)


def _ints(*values: int) -> Tensor:
    return constant(np.array(values, np.int32))


def _one(
    name: str,
    inputs: list[Tensor],
    *outputs: Tensor,
    table: str = "NONE",
    **options: OptionValue,
) -> Graph:
    return single_operator(name, inputs, list(outputs), Options(options), table)


def _elementwise() -> list[Graph]:
    floats, stored = _fed(2, 3, dtype=DType.FLOAT32), _fed(2, 3)
    wide, truth = _fed(2, 3, dtype=DType.INT16), _fed(2, 3, dtype=DType.BOOL)
    found = [_one(name, [floats], floats) for name in _FLOAT_UNARY]
    for name in ("ABS", "RSQRT"):
        found += [_one(name, [t], t) for t in (floats, stored, wide)]
    found += [_one("ELU", [t], t) for t in (floats, stored)]
    found.append(_one("LOGICAL_NOT", [truth], truth))
    for name in _COMPARISONS:
        found += [_one(name, [t, t], truth) for t in (floats, stored)]
    found += [_one(name, [truth, truth], truth) for name in ("LOGICAL_AND", "LOGICAL_OR")]
    found += [_one("SELECT_V2", [truth, t, t], t) for t in (floats, stored, wide)]
    for t in (floats, stored, wide):
        found.append(_one("SQUARED_DIFFERENCE", [t, t], t))
    for t in (floats, stored, _fed(2, 3, dtype=DType.INT32)):
        found.append(_one("DIV", [t, t], t, table="DivOptions", fused_activation_function="NONE"))
    found += [_one(name, [floats, floats], floats) for name in ("FLOOR_DIV", "FLOOR_MOD")]
    found += [_one("ADD_N", [t, t, t], t) for t in (floats, stored)]
    found.append(_one("CAST", [floats], _fed(2, 3, dtype=DType.INT32), table="CastOptions"))
    log_q = activation((2, 3), DType.INT8, quantized(16 / 256, 127))
    found += [_one("LOG_SOFTMAX", [floats], floats), _one("LOG_SOFTMAX", [stored], log_q)]
    unit = activation((2, 3), DType.INT8, quantized(1 / 128))
    for x, y in ((floats, floats), (stored, unit)):
        found.append(_one("L2_NORMALIZATION", [x], y, table="L2NormOptions"))
    return found


def _images() -> list[Graph]:
    found = [
        _one(
            "L2_POOL_2D",
            [_fed(1, 4, 4, 2, dtype=DType.FLOAT32)],
            _fed(1, 2, 2, 2, dtype=DType.FLOAT32),
            table="Pool2DOptions",
            padding="SAME",
            stride_w=2,
            stride_h=2,
            filter_width=2,
            filter_height=2,
            fused_activation_function="NONE",
        )
    ]
    for dtype in (DType.INT8, DType.FLOAT32):
        wide, deep = _fed(1, 4, 4, 2, dtype=dtype), _fed(1, 2, 2, 8, dtype=dtype)
        batches = _fed(4, 2, 2, 2, dtype=dtype)
        none = constant(np.zeros((2, 2), np.int32))
        found += [
            _one("SPACE_TO_DEPTH", [wide], deep, table="SpaceToDepthOptions", block_size=2),
            _one("DEPTH_TO_SPACE", [deep], wide, table="DepthToSpaceOptions", block_size=2),
            _one("SPACE_TO_BATCH_ND", [wide, _ints(2, 2), none], batches),
            _one("BATCH_TO_SPACE_ND", [batches, _ints(2, 2), none], wide),
        ]
    return found


def _reductions() -> list[Graph]:
    found = []
    for dtype in (DType.INT8, DType.FLOAT32):
        x = _fed(2, 3, 4, dtype=dtype)
        for name in ("SUM", "REDUCE_MAX", "REDUCE_MIN"):
            kept = _fed(2, 1, 4, dtype=dtype)
            found.append(_one(name, [x, _ints(1)], kept, table="ReducerOptions", keep_dims=True))
        found.append(_one("CUMSUM", [x, _ints(1)], x, table="CumsumOptions"))
        positions = _fed(2, 4, dtype=DType.INT32)
        found.append(_one("ARG_MIN", [x, _ints(1)], positions, table="ArgMinOptions"))
    return found


def _movements() -> list[Graph]:
    found = []
    for dtype in (DType.INT8, DType.FLOAT32):
        x = _fed(2, 3, 4, dtype=dtype)
        row = _fed(3, 4, dtype=dtype)
        padded = _fed(4, 5, 6, dtype=dtype)
        ones = constant(np.ones((3, 2), np.int32))
        value = activation((1,), dtype, x.quantization)
        found += [
            _one("SQUEEZE", [_fed(1, 3, 4, dtype=dtype)], row, table="SqueezeOptions"),
            _one("EXPAND_DIMS", [row, _ints(0)], _fed(1, 3, 4, dtype=dtype)),
            _one("PADV2", [x, ones, value], padded),
            _one("MIRROR_PAD", [x, ones], padded, table="MirrorPadOptions", mode="SYMMETRIC"),
            _one(
                "SPLIT_V",
                [x, _ints(1, 2), constant(np.array(1, np.int32))],
                _fed(2, 1, 4, dtype=dtype),
                _fed(2, 2, 4, dtype=dtype),
                table="SplitVOptions",
                num_splits=2,
            ),
            _one("UNPACK", [x], row, row, table="UnpackOptions", num=2, axis=0),
            _one("SLICE", [x, _ints(0, 1, 0), _ints(2, 2, -1)], _fed(2, 2, 4, dtype=dtype)),
            _one(
                "GATHER",
                [x, _ints(2, 0)],
                _fed(2, 2, 4, dtype=dtype),
                table="GatherOptions",
                axis=1,
                batch_dims=0,
            ),
            _one(
                "GATHER_ND",
                [x, constant(np.array([[1, 2], [0, 0]], np.int32))],
                _fed(2, 4, dtype=dtype),
            ),
            _one("BROADCAST_TO", [row, _ints(2, 3, 4)], x),
            _one("FILL", [_ints(2, 3), activation((), dtype)], activation((2, 3), dtype)),
            _one("ZEROS_LIKE", [x], x),
            _one("SHAPE", [x], _fed(3, dtype=DType.INT32), table="ShapeOptions"),
        ]
    vector = _fed(3, dtype=DType.INT32)
    found.append(_one("BROADCAST_ARGS", [_ints(2, 1, 4), vector], vector))
    return found


@cache
def seeds() -> tuple[Graph, ...]:
    """A sound model of every operator; hundreds more where the shared folder is."""
    found = [*_elementwise(), *_images(), *_reductions(), *_movements()]
    archive = SHARED / "golden" / "tflm" / "single_operators.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as models:
            for name in models.namelist():
                if name.endswith(".tflite"):
                    graph = tflite.read(models.read(name), name)
                    if sum(t.elements for t in graph.main.tensors) <= _MOST_ELEMENTS:
                        found.append(graph)
    return tuple(found)
