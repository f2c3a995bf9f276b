"""A small model of every operator whose arena no device run was counted for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mcusim.graph import (
    Array,
    DType,
    Graph,
    Operator,
    Options,
    OptionValue,
    Quantization,
    Subgraph,
    Tensor,
)
from tests.oracles import activation, constant, quantized, single_operator

__all__ = ["control_flow_models", "offline_planned_model", "single_operator_models"]

F32, I8, I16, I32, I64, BOOL = (
    DType.FLOAT32,
    DType.INT8,
    DType.INT16,
    DType.INT32,
    DType.INT64,
    DType.BOOL,
)
Q8 = quantized(0.5, 3)
Q16 = quantized(0.5, 0)


def _tensor(shape: Sequence[int], dtype: DType) -> Tensor:
    quantization = {I8: Q8, I16: Q16}.get(dtype)
    return activation(shape, dtype, quantization)


def _ints(*values: int) -> Tensor:
    return constant(np.array(values, np.int32))


def _model(
    name: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options_type: str = "NONE",
    **options: OptionValue,
) -> tuple[str, Graph]:
    first = next(t for t in inputs if t is not None and t.data is None)
    label = f"{name.lower()}_{first.dtype.value}"
    return label, single_operator(name, inputs, outputs, Options(options), options_type)


def single_operator_models() -> Iterator[tuple[str, Graph]]:
    """Each with a name for the test's report."""
    yield from _elementwise()
    yield from _reductions()
    yield from _shapes()
    yield from _weights()


def _elementwise() -> Iterator[tuple[str, Graph]]:
    shape = (1, 3, 5)
    for name in ("SQRT", "SQUARE", "LOG", "SIN", "COS", "ROUND", "FLOOR", "CEIL", "EXP", "NEG"):
        yield _model(name, [_tensor(shape, F32)], [_tensor(shape, F32)])
    for name in ("ABS", "RSQRT", "ELU"):
        for dtype in (F32, I8):
            yield _model(name, [_tensor(shape, dtype)], [_tensor(shape, dtype)])
    yield _model("ZEROS_LIKE", [_tensor(shape, F32)], [_tensor(shape, F32)])
    for name in ("FLOOR_DIV", "FLOOR_MOD"):
        yield _model(name, [_tensor(shape, F32)] * 2, [_tensor(shape, F32)])
    for dtype in (F32, I8):
        pair, out = [_tensor(shape, dtype)] * 2, [_tensor(shape, dtype)]
        yield _model("DIV", pair, out, "DivOptions")
        yield _model("SQUARED_DIFFERENCE", pair, out)
        yield _model("ADD_N", [*pair, _tensor(shape, dtype)], out)
        for name in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"):
            yield _model(name, pair, [_tensor(shape, BOOL)])
        yield _model("SELECT_V2", [_tensor(shape, BOOL), *pair], out, "SelectV2Options")
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        yield _model(name, [_tensor(shape, BOOL)] * 2, [_tensor(shape, BOOL)])
    yield _model("LOGICAL_NOT", [_tensor(shape, BOOL)], [_tensor(shape, BOOL)])
    yield _model(
        "CAST",
        [_tensor(shape, F32)],
        [_tensor(shape, I32)],
        "CastOptions",
        in_data_type="float32",
        out_data_type="int32",
    )
    yield _model("LOG_SOFTMAX", [_tensor(shape, F32)], [_tensor(shape, F32)], "LogSoftmaxOptions")
    sixteenths = activation(shape, I8, quantized(16 / 256, 127))
    yield _model("LOG_SOFTMAX", [_tensor(shape, I8)], [sixteenths], "LogSoftmaxOptions")
    for dtype in (F32, I8):
        x, y = _tensor(shape, dtype), _tensor(shape, dtype)
        yield _model("CUMSUM", [x, _ints(1)], [y], "CumsumOptions")
    yield _model(
        "L2_NORMALIZATION", [_tensor((2, 5), F32)], [_tensor((2, 5), F32)], "L2NormOptions"
    )


def _reductions() -> Iterator[tuple[str, Graph]]:
    for name in ("SUM", "REDUCE_MAX", "REDUCE_MIN"):
        for dtype in (F32, I8):
            x, y = _tensor((2, 3, 4, 5), dtype), _tensor((2, 5), dtype)
            yield _model(name, [x, _ints(1, 2)], [y], "ReducerOptions")
    for dtype in (F32, I8):
        x, y = _tensor((2, 3, 5), dtype), _tensor((2, 3), I32)
        yield _model("ARG_MIN", [x, _ints(2)], [y], "ArgMinOptions", output_type="int32")
    yield _model(
        "L2_POOL_2D",
        [_tensor((1, 6, 6, 3), F32)],
        [_tensor((1, 3, 3, 3), F32)],
        "Pool2DOptions",
        padding="VALID",
        stride_w=2,
        stride_h=2,
        filter_width=2,
        filter_height=2,
    )


def _shapes() -> Iterator[tuple[str, Graph]]:
    for dtype in (F32, I8):
        image = _tensor((1, 4, 6, 4), dtype)
        yield _model(
            "SQUEEZE", [_tensor((1, 4, 1, 3), dtype)], [_tensor((4, 3), dtype)], "SqueezeOptions"
        )
        yield _model(
            "EXPAND_DIMS",
            [_tensor((4, 3), dtype), _ints(0)],
            [_tensor((1, 4, 3), dtype)],
            "ExpandDimsOptions",
        )
        value = constant(np.array([3], dtype.numpy), Q8 if dtype is I8 else None)
        paddings = constant(np.array([[1, 1], [0, 2]], np.int32))
        yield _model("PADV2", [_tensor((2, 3), dtype), paddings, value], [_tensor((4, 5), dtype)])
        yield _model(
            "MIRROR_PAD",
            [_tensor((2, 3), dtype), paddings],
            [_tensor((4, 5), dtype)],
            "MirrorPadOptions",
            mode="SYMMETRIC",
        )
        yield _model(
            "SPLIT_V",
            [_tensor((2, 6), dtype), _ints(2, 4), _ints(1)],
            [_tensor((2, 2), dtype), _tensor((2, 4), dtype)],
            "SplitVOptions",
            num_splits=2,
        )
        yield _model(
            "UNPACK",
            [_tensor((2, 6), dtype)],
            [_tensor((6,), dtype)] * 2,
            "UnpackOptions",
            num=2,
            axis=0,
        )
        yield _model(
            "SLICE", [_tensor((4, 6), dtype), _ints(1, 2), _ints(2, 3)], [_tensor((2, 3), dtype)]
        )
        yield _model(
            "GATHER",
            [_tensor((4, 6), dtype), _ints(1, 2, 0)],
            [_tensor((3, 6), dtype)],
            "GatherOptions",
        )
        yield _model(
            "GATHER_ND",
            [_tensor((4, 6), dtype), constant(np.array([[1], [2], [0]], np.int32))],
            [_tensor((3, 6), dtype)],
        )
        yield _model(
            "BROADCAST_TO", [_tensor((1, 6), dtype), _ints(4, 6)], [_tensor((4, 6), dtype)]
        )
        yield _model("FILL", [_ints(2, 3), _tensor((), dtype)], [_tensor((2, 3), dtype)])
        yield _model(
            "SPACE_TO_DEPTH",
            [image],
            [_tensor((1, 2, 3, 16), dtype)],
            "SpaceToDepthOptions",
            block_size=2,
        )
        yield _model(
            "DEPTH_TO_SPACE",
            [image],
            [_tensor((1, 8, 12, 1), dtype)],
            "DepthToSpaceOptions",
            block_size=2,
        )
        zeros = constant(np.zeros((2, 2), np.int32))
        yield _model(
            "SPACE_TO_BATCH_ND", [image, _ints(2, 2), zeros], [_tensor((4, 2, 3, 4), dtype)]
        )
        yield _model(
            "BATCH_TO_SPACE_ND",
            [_tensor((4, 2, 3, 4), dtype), _ints(2, 2), zeros],
            [image],
        )
    yield _model("BROADCAST_ARGS", [_tensor((2,), I32), _ints(4, 1)], [_tensor((2,), I32)])
    yield _model(
        "SHAPE", [_tensor((2, 3), F32)], [_tensor((2,), I32)], "ShapeOptions", out_type="int32"
    )


def _weights() -> Iterator[tuple[str, Graph]]:
    image = _tensor((1, 6, 6, 4), I8)
    window: dict[str, OptionValue] = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
    scales = quantized([0.1] * 8)
    bias = constant(np.zeros(8, np.int32), quantized([0.05] * 8))
    nibbles = _int4((8, 3, 3, 4), scales)
    yield _model(
        "CONV_2D", [image, nibbles, bias], [_tensor((1, 6, 6, 8), I8)], "Conv2DOptions", **window
    )
    nibbles = _int4((1, 3, 3, 8), quantized([0.1] * 8, axis=3))
    yield _model(
        "DEPTHWISE_CONV_2D",
        [image, nibbles, bias],
        [_tensor((1, 6, 6, 8), I8)],
        "DepthwiseConv2DOptions",
        depth_multiplier=2,
        **window,
    )
    one = quantized(0.1)
    row, out = _tensor((1, 6), I8), _tensor((1, 8), I8)
    flat_bias = constant(np.zeros(8, np.int32), quantized(0.05))
    yield _model(
        "FULLY_CONNECTED", [row, _int4((8, 6), one), flat_bias], [out], "FullyConnectedOptions"
    )
    weights = constant(np.ones((8, 6), np.int8), scales)
    yield _model("FULLY_CONNECTED", [row, weights, bias], [out], "FullyConnectedOptions")
    for dtype, bias_dtype in ((I8, np.int32), (I16, np.int64), (I16, np.int16)):
        bias = constant(np.zeros(8, bias_dtype), quantized([0.05] * 8))
        yield _model(
            "TRANSPOSE_CONV",
            [
                _ints(1, 12, 12, 8),
                constant(np.ones((8, 3, 3, 4), np.int8), scales),
                _tensor((1, 6, 6, 4), dtype),
                bias,
            ],
            [_tensor((1, 12, 12, 8), dtype)],
            "TransposeConvOptions",
            padding="SAME",
            stride_w=2,
            stride_h=2,
        )
    for dtype in (F32, I8, I16):
        for adj_x in (False, True):
            for adj_y in (False, True):
                yield _model(
                    "BATCH_MATMUL",
                    [
                        _tensor((2, 5, 3) if adj_x else (2, 3, 5), dtype),
                        _tensor((2, 7, 5) if adj_y else (2, 5, 7), dtype),
                    ],
                    [_tensor((2, 3, 7), dtype)],
                    "BatchMatMulOptions",
                    adj_x=adj_x,
                    adj_y=adj_y,
                )


def _int4(shape: Sequence[int], quantization: Quantization) -> Tensor:
    return Tensor(0, "", tuple(shape), DType.INT4, quantization, np.ones(shape, np.int8))


def control_flow_models() -> Iterator[tuple[str, Graph]]:
    """Models whose operators call subgraphs or keep resource variables."""
    yield "if", _if_model()
    yield "while", _while_model()
    yield "variables", _variable_model()


def _subgraph(
    name: str,
    tensors: Sequence[tuple[tuple[int, ...], DType, Array | None]],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    *operators: Operator,
) -> Subgraph:
    return Subgraph(
        name,
        tuple(
            Tensor(i, f"{name}{i}", shape, dtype, data=data, buffer=_buffer(data))
            for i, (shape, dtype, data) in enumerate(tensors)
        ),
        inputs,
        outputs,
        operators,
    )


def _buffer(data: Array | None) -> int:
    """A buffer of the file for each constant: here their first element tells them apart."""
    return 0 if data is None else 1 + int(data.flat[0])


def _if_model() -> Graph:
    x = ((1, 40), F32, None)
    options = Options({"then_subgraph_index": 1, "else_subgraph_index": 2})
    return Graph(
        (
            _subgraph(
                "main",
                [((1,), BOOL, None), x, x, x],
                (0, 1),
                (3,),
                Operator("FLOOR", (1,), (2,)),
                Operator("IF", (0, 2), (3,), options, "IfOptions"),
            ),
            _subgraph("then", [x, x], (0,), (1,), Operator("CEIL", (0,), (1,))),
            _subgraph(
                "else",
                [x, x, x],
                (0,),
                (2,),
                Operator("SQUARE", (0,), (1,)),
                Operator("SOFTMAX", (1,), (2,), Options({"beta": 1.0}), "SoftmaxOptions"),
            ),
        )
    )


def _while_model() -> Graph:
    counter, x = ((1,), I32, None), ((3, 30), F32, None)
    limit = ((1,), I32, np.array([4], np.int32))
    step = ((1,), I32, np.array([1], np.int32))
    options = Options({"cond_subgraph_index": 1, "body_subgraph_index": 2})
    return Graph(
        (
            _subgraph(
                "main",
                [counter, x, counter, x],
                (0, 1),
                (2, 3),
                Operator("WHILE", (0, 1), (2, 3), options, "WhileOptions"),
            ),
            _subgraph(
                "condition",
                [counter, x, limit, ((1,), BOOL, None)],
                (0, 1),
                (3,),
                Operator("LESS", (0, 2), (3,)),
            ),
            _subgraph(
                "body",
                [counter, x, step, counter, x, x],
                (0, 1),
                (3, 5),
                Operator("ADD", (0, 2), (3,), options_type="AddOptions"),
                Operator("SQUARE", (1,), (4,)),
                Operator("ADD", (4, 1), (5,), options_type="AddOptions"),
            ),
        )
    )


def _variable_model() -> Graph:
    x, handle = ((1, 21), F32, None), ((1,), DType.RESOURCE, None)
    zeros = ((1, 21), F32, np.zeros((1, 21), np.float32))
    named = Options({"container": "", "shared_name": "state"})
    once = Options({"init_subgraph_index": 1})
    return Graph(
        (
            _subgraph(
                "main",
                [x, handle, x, x],
                (0,),
                (3,),
                Operator("CALL_ONCE", (), (), once, "CallOnceOptions"),
                Operator("VAR_HANDLE", (), (1,), named, "VarHandleOptions"),
                Operator("READ_VARIABLE", (1,), (2,), options_type="ReadVariableOptions"),
                Operator("ADD", (0, 2), (3,), options_type="AddOptions"),
                Operator("ASSIGN_VARIABLE", (1, 3), (), options_type="AssignVariableOptions"),
            ),
            _subgraph(
                "initializer",
                [handle, zeros],
                (),
                (),
                Operator("VAR_HANDLE", (), (0,), named, "VarHandleOptions"),
                Operator("ASSIGN_VARIABLE", (0, 1), (), options_type="AssignVariableOptions"),
            ),
        )
    )


def offline_planned_model(offsets: Sequence[int]) -> Graph:
    """A chain of four FLOOR operators on five tensors of 160 bytes, planned as ``offsets`` say."""
    header = np.array([1, 0, len(offsets)], np.int32)
    content = np.concatenate([header, np.array(offsets, np.int32)]).tobytes()
    x = ((1, 40), F32, None)
    chain = _subgraph(
        "main", [x] * 5, (0,), (4,), *(Operator("FLOOR", (i,), (i + 1,)) for i in range(4))
    )
    return Graph((chain,), metadata={"OfflineMemoryAllocation": content})
