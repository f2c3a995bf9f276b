"""Small models of one special feature each, written with the schema's generated builder functions.

Nothing of mcusim takes part, so a reader that agrees with these agrees with the schema.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import flatbuffers
import numpy as np
from tflite.BuiltinOperator import BuiltinOperator
from tflite.BuiltinOptions import BuiltinOptions
from tflite.TensorType import TensorType

__all__ = [
    "APPENDED_WEIGHTS",
    "INT4_WEIGHTS",
    "MODELS",
    "appended_weights",
    "bomb",
    "circle",
    "custom_operator",
    "external_file",
    "int4_weights",
    "two_subgraphs",
    "variables",
]

INT4_WEIGHTS = np.array([[-8, 7, 0], [1, -1, 3], [5, -5, 2]], np.int8)
APPENDED_WEIGHTS = np.arange(8, dtype=np.float32).reshape(2, 4)


class _Writer:
    """Tables by name through the generated functions."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, name: str, **values: Any) -> int:
        """A table with its fields by the generated names; offsets must exist already."""
        module = import_module(f"tflite.{name}")
        getattr(module, f"{name}Start")(self.builder)
        for field, value in values.items():
            getattr(module, f"{name}Add{field}")(self.builder, value)
        return int(getattr(module, f"{name}End")(self.builder))

    def numbers(self, values: Sequence[float], dtype: str) -> int:
        return int(self.builder.CreateNumpyVector(np.array(values, dtype)))

    def offsets(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def text(self, text: str) -> int:
        return int(self.builder.CreateString(text))

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        buffer: int = 0,
        scale: Sequence[float] = (),
        **more: Any,
    ) -> int:
        if scale:
            scales = self.numbers(scale, "f4")
            zeros = self.numbers([0] * len(scale), "i8")
            more["Quantization"] = self.table(
                "QuantizationParameters", Scale=scales, ZeroPoint=zeros
            )
        values: dict[str, Any] = {"Shape": self.numbers(shape, "i4"), "Name": self.text(name)}
        return self.table(
            "Tensor", Type=getattr(TensorType, dtype), Buffer=buffer, **values, **more
        )

    def buffer(self, data: bytes = b"", **more: int) -> int:
        if data:
            more["Data"] = int(self.builder.CreateNumpyVector(np.frombuffer(data, np.uint8)))
        return self.table("Buffer", **more)

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        values: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> int:
        if options:
            more["BuiltinOptions"] = self.table(options, **(values or {}))
            more["BuiltinOptionsType"] = getattr(BuiltinOptions, options)
        ins, outs = self.numbers(inputs, "i4"), self.numbers(outputs, "i4")
        return self.table("Operator", OpcodeIndex=code, Inputs=ins, Outputs=outs, **more)

    def code(self, name: str, version: int = 1, custom: str = "") -> int:
        number = getattr(BuiltinOperator, name)
        more = {"CustomCode": self.text(custom)} if custom else {}
        return self.table(
            "OperatorCode",
            DeprecatedBuiltinCode=min(number, 127),
            BuiltinCode=number,
            Version=version,
            **more,
        )

    def subgraph(
        self,
        name: str,
        tensors: Sequence[int],
        inputs: Sequence[int],
        outputs: Sequence[int],
        operators: Sequence[int],
    ) -> int:
        return self.table(
            "SubGraph",
            Name=self.text(name),
            Tensors=self.offsets(tensors),
            Inputs=self.numbers(inputs, "i4"),
            Outputs=self.numbers(outputs, "i4"),
            Operators=self.offsets(operators),
        )

    def model(
        self, codes: Sequence[int], subgraphs: Sequence[int], buffers: Sequence[int]
    ) -> bytes:
        root = self.table(
            "Model",
            Version=3,
            OperatorCodes=self.offsets(codes),
            Subgraphs=self.offsets(subgraphs),
            Buffers=self.offsets(buffers),
        )
        return self.finish(root)

    def finish(self, root: int) -> bytes:
        self.builder.Finish(root, file_identifier=b"TFL3")
        return bytes(self.builder.Output())


def int4_weights() -> bytes:
    """FULLY_CONNECTED, int8 by packed int4: 3 inputs, 3 outputs, an odd number of weights."""
    w = _Writer()
    packed = bytes([0x78, 0x10, 0x3F, 0xB5, 0x02])
    tensors = [
        w.tensor("x", [1, 3], "INT8", scale=[0.5]),
        w.tensor("weights", [3, 3], "INT4", 1, scale=[0.25]),
        w.tensor("y", [1, 3], "INT8", scale=[0.5]),
    ]
    operators = [w.operator(0, [0, 1, -1], [2], "FullyConnectedOptions")]
    return w.model(
        [w.code("FULLY_CONNECTED", 12)],
        [w.subgraph("main", tensors, [0], [2], operators)],
        [w.buffer(), w.buffer(packed)],
    )


def appended_weights() -> bytes:
    """ADD of a float32 constant that lies past the flatbuffer, as in models over 2 GB."""

    def flatbuffer(offset: int) -> bytes:
        w = _Writer()
        tensors = [w.tensor(n, [2, 4], "FLOAT32", b) for n, b in (("x", 0), ("w", 1), ("y", 0))]
        return w.model(
            [w.code("ADD")],
            [w.subgraph("main", tensors, [0], [2], [w.operator(0, [0, 1], [2], "AddOptions")])],
            [w.buffer(), w.buffer(Offset=offset, Size=APPENDED_WEIGHTS.nbytes)],
        )

    start = -(-len(flatbuffer(2)) // 16) * 16
    return flatbuffer(start).ljust(start, b"\0") + APPENDED_WEIGHTS.tobytes()


def external_file(file: str = "weights.bin", offset: int = 4, length: int = 32) -> bytes:
    """ADD of a float32 constant in a file beside the model (schema 3d)."""
    w = _Writer()
    b = w.builder
    shape, name = w.numbers([2, 4], "i4"), w.text("w")
    b.StartObject(11)
    b.PrependUOffsetTRelativeSlot(0, shape, 0)
    b.PrependUOffsetTRelativeSlot(3, name, 0)
    b.PrependUint32Slot(10, 7, 0)
    constant = b.EndObject()
    tensors = [w.tensor("x", [2, 4], "FLOAT32"), constant, w.tensor("y", [2, 4], "FLOAT32")]
    subgraph = w.subgraph("main", tensors, [0], [2], [w.operator(0, [0, 1], [2], "AddOptions")])
    group_name = w.text(file)
    b.StartObject(1)
    b.PrependUOffsetTRelativeSlot(0, group_name, 0)
    groups = w.offsets([b.EndObject()])
    b.StartObject(5)
    b.PrependUint32Slot(0, 7, 0)
    b.PrependUint64Slot(2, offset, 0)
    b.PrependUint64Slot(3, length, 0)
    externals = w.offsets([b.EndObject()])
    codes, subgraphs = w.offsets([w.code("ADD")]), w.offsets([subgraph])
    buffers = w.offsets([w.buffer()])
    b.StartObject(10)
    b.PrependUint32Slot(0, 3, 0)
    for slot, vector in ((1, codes), (2, subgraphs), (4, buffers), (8, groups), (9, externals)):
        b.PrependUOffsetTRelativeSlot(slot, vector, 0)
    return w.finish(b.EndObject())


def two_subgraphs() -> bytes:
    """WHILE x < 10: x = x + 1, with condition and body in subgraphs of their own."""
    w = _Writer()
    ten, one = struct.pack("<i", 10), struct.pack("<i", 1)

    def scalar(name: str, dtype: str = "INT32", buffer: int = 0) -> int:
        return w.tensor(name, [1], dtype, buffer)

    loop = w.operator(0, [0], [1], "WhileOptions", {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2})
    return w.model(
        [w.code("WHILE"), w.code("LESS"), w.code("ADD")],
        [
            w.subgraph("main", [scalar("x"), scalar("y")], [0], [1], [loop]),
            w.subgraph(
                "condition",
                [scalar("x"), scalar("ten", "INT32", 1), scalar("less", "BOOL")],
                [0],
                [2],
                [w.operator(1, [0, 1], [2], "LessOptions")],
            ),
            w.subgraph(
                "body",
                [scalar("x"), scalar("one", "INT32", 2), scalar("next")],
                [0],
                [2],
                [w.operator(2, [0, 1], [2], "AddOptions")],
            ),
        ],
        [w.buffer(), w.buffer(ten), w.buffer(one)],
    )


def circle() -> bytes:
    """Two subgraphs that call each other by IF and WHILE for ever."""
    w = _Writer()

    def body(operator: int, name: str) -> int:
        tensors = [w.tensor("c", [1], "BOOL"), w.tensor("x", [1], "INT32")]
        return w.subgraph(name, [*tensors, w.tensor("y", [1], "INT32")], [0, 1], [2], [operator])

    branch = w.operator(
        0, [0, 1], [2], "IfOptions", {"ThenSubgraphIndex": 1, "ElseSubgraphIndex": 1}
    )
    back = w.operator(
        1, [0, 1], [2], "WhileOptions", {"CondSubgraphIndex": 2, "BodySubgraphIndex": 0}
    )
    end = w.subgraph("end", [w.tensor("x", [1], "BOOL")], [0], [0], [])
    return w.model(
        [w.code("IF"), w.code("WHILE")],
        [body(branch, "main"), body(back, "back"), end],
        [w.buffer()],
    )


def variables() -> bytes:
    """A resource variable: CALL_ONCE sets it, each call adds the input to it."""
    w = _Writer()

    def handle(index: int, code: int) -> int:
        values = {"Container": w.text(""), "SharedName": w.text("total")}
        return w.operator(code, [], [index], "VarHandleOptions", values)

    main = w.subgraph(
        "main",
        [
            w.tensor("x", [1, 2], "INT32"),
            w.tensor("handle", [1], "RESOURCE"),
            w.tensor("before", [1, 2], "INT32"),
            w.tensor("after", [1, 2], "INT32"),
        ],
        [0],
        [3],
        [
            w.operator(0, [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}),
            handle(1, 1),
            w.operator(2, [1], [2], "ReadVariableOptions"),
            w.operator(3, [0, 2], [3], "AddOptions"),
            w.operator(4, [1, 3], [], "AssignVariableOptions"),
        ],
    )
    start = w.subgraph(
        "start",
        [w.tensor("handle", [1], "RESOURCE"), w.tensor("zero", [1, 2], "INT32", 1)],
        [],
        [],
        [handle(0, 1), w.operator(4, [0, 1], [], "AssignVariableOptions")],
    )
    names = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ADD", "ASSIGN_VARIABLE")
    return w.model(
        [w.code(name) for name in names], [main, start], [w.buffer(), w.buffer(bytes(8))]
    )


def custom_operator() -> bytes:
    """A custom operator with options, intermediates, a mutated variable, metadata, a signature."""
    w = _Writer()
    tensors = [
        w.tensor("x", [1, 2], "INT8", scale=[0.5]),
        w.tensor("state", [1, 2], "INT16", scale=[0.25], IsVariable=True, HasRank=True),
        w.tensor("y", [1, 2], "INT8", scale=[0.5], ShapeSignature=w.numbers([-1, 2], "i4")),
        w.tensor("middle", [1, 2], "INT16", scale=[1.0]),
    ]
    operator = w.operator(
        0,
        [0, 1],
        [2],
        CustomOptions=w.numbers([1, 2, 3], "u1"),
        MutatingVariableInputs=w.numbers([0, 1], "bool"),
        Intermediates=w.numbers([3], "i4"),
    )

    def names(name: str, index: int) -> int:
        return w.offsets([w.table("TensorMap", Name=w.text(name), TensorIndex=index)])

    signature = w.table(
        "SignatureDef",
        SignatureKey=w.text("serving_default"),
        Inputs=names("speech", 0),
        Outputs=names("word", 2),
    )
    return w.finish(
        w.table(
            "Model",
            Version=3,
            Description=w.text("a test"),
            OperatorCodes=w.offsets([w.code("CUSTOM", 2, "Magic")]),
            Subgraphs=w.offsets([w.subgraph("main", tensors, [0], [2], [operator])]),
            Buffers=w.offsets([w.buffer(), w.buffer(b"1.5.0")]),
            Metadata=w.offsets([w.table("Metadata", Name=w.text("min_version"), Buffer=1)]),
            SignatureDefs=w.offsets([signature]),
        )
    )


def bomb(subgraphs: int = 2000, tensors: int = 2000) -> bytes:
    """A small file whose tables, shared over and over, unfold to millions."""
    w = _Writer()
    tensor = w.tensor("x", [1], "INT8")
    subgraph = w.subgraph("main", [tensor] * tensors, [0], [0], [])
    return w.model([w.code("ADD")], [subgraph] * subgraphs, [w.buffer()])


MODELS: Mapping[str, Callable[[], bytes]] = {
    "appended_weights": appended_weights,
    "custom_operator": custom_operator,
    "int4_weights": int4_weights,
    "two_subgraphs": two_subgraphs,
    "variables": variables,
}
