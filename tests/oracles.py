"""The real interpreters that mcusim is held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tflite_micro.python.tflite_micro import runtime

from mcusim.graph import Array, DType, Graph, Operator, Options, Quantization, Subgraph, Tensor

__all__ = ["quantized", "single_operator", "tflm", "tflm_refuses", "tflm_tensors"]

_ARENA_BYTES = 16 << 20


def tflm(model: bytes, *calls: Sequence[Array]) -> list[list[Array]]:
    """Outputs of the TFLite Micro interpreter, one list for each successive call's inputs."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_BYTES)
    results = []
    for inputs in calls:
        for position, array in enumerate(inputs):
            interpreter.set_input(np.asarray(array, order="C"), position)
        interpreter.invoke()
        results.append([np.copy(interpreter.get_output(i)) for i in range(_outputs(model))])
    return results


def tflm_tensors(model: bytes, inputs: Sequence[Array], indices: Sequence[int]) -> list[Array]:
    """Tensors of the main subgraph by index after one call of the TFLite Micro interpreter."""
    interpreter = runtime.Interpreter.from_bytes(
        model,
        arena_size=_ARENA_BYTES,
        intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
    )
    for position, array in enumerate(inputs):
        interpreter.set_input(np.asarray(array, order="C"), position)
    interpreter.invoke()
    return [np.copy(interpreter.GetTensor(i, 0)["tensor_data"]) for i in indices]


def tflm_refuses(model: bytes, inputs: Sequence[Array] = ()) -> bool:
    """Whether the TFLite Micro interpreter refuses to prepare or run the model."""
    try:
        tflm(model, inputs)
    except (RuntimeError, ValueError):
        return True
    return False


def _outputs(model: bytes) -> int:
    from mcusim.tflite import read

    return len(read(model).outputs)


def quantized(
    scale: float | Sequence[float], zero_point: int | Sequence[int] = 0, axis: int = 0
) -> Quantization:
    """A quantization from plain numbers; per channel when ``scale`` is a sequence."""
    scales: npt.NDArray[np.float32] = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape)
    return Quantization(scales, np.array(zero_points), axis)


def single_operator(
    name: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options: Options | None = None,
    options_type: str = "NONE",
    version: int = 1,
    intermediates: Sequence[Tensor] = (),
) -> Graph:
    """A model of one operator; tensors get their indices here, constants are no graph inputs."""
    tensors: list[Tensor] = []

    def placed(tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        index = len(tensors)
        tensors.append(
            Tensor(
                index,
                tensor.name or f"t{index}",
                tensor.shape,
                tensor.dtype,
                tensor.quantization,
                tensor.data,
                tensor.is_variable,
                buffer=index + 1,
            )
        )
        return index

    ins = tuple(placed(t) for t in inputs)
    outs = tuple(placed(t) for t in outputs)
    middle = tuple(placed(t) for t in intermediates)
    operator = Operator(
        name, ins, outs, options or Options(), options_type, version, intermediates=middle
    )
    fed = tuple(
        i
        for i, t in zip(ins, inputs, strict=True)
        if t is not None and t.data is None and not t.is_variable
    )
    return Graph((Subgraph("main", tuple(tensors), fed, outs, (operator,)),), name=name.lower())


def activation(
    shape: Sequence[int], dtype: DType, quantization: Quantization | None = None
) -> Tensor:
    """A tensor that is computed or fed."""
    return Tensor(0, "", tuple(shape), dtype, quantization)


def constant(data: Array, quantization: Quantization | None = None) -> Tensor:
    """A tensor that the file holds."""
    array = np.ascontiguousarray(data)
    return Tensor(0, "", array.shape, DType(array.dtype.name), quantization, array)
