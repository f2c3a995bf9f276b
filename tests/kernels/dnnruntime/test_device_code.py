"""dnnruntime's kernels against its device code, compiled for this machine."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mcusim
from mcusim.graph import Array, DType, Options, Quantization
from mcusim.kernels.dnnruntime import stored_weights
from mcusim.resources import data_path
from tests.oracles import activation, constant, quantized, single_operator

_COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(_COMPILER is None, reason="there is no C compiler")

_GEOMETRIES = [  # height, width, channels, kernel, stride, padding
    (9, 7, 3, 3, 1, "SAME"),
    (8, 8, 4, 3, 2, "VALID"),
    (6, 5, 2, 1, 1, "VALID"),
    (10, 10, 1, 5, 2, "SAME"),
]


class _Window(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            *("channels", "height", "width", "kernel_h", "kernel_w", "stride_h", "stride_w"),
            *("pad_top", "pad_left", "out_h", "out_w"),
        )
    ]


class _Requantize(ctypes.Structure):
    _fields_ = [
        ("scales", ctypes.c_void_p),
        ("zero_point", ctypes.c_int32),
        ("least", ctypes.c_int32),
        ("most", ctypes.c_int32),
    ]


class _Crs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("values", "columns", "row_starts")]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The device code as a library of this machine, without fused multiply-add."""
    library = tmp_path_factory.mktemp("device") / "dnnruntime.so"
    source = data_path("kernels", "dnnruntime", "dnnruntime.c")
    flags = ["-O2", "-std=c11", "-ffp-contract=off", "-shared", "-fPIC"]
    assert _COMPILER is not None
    subprocess.run([_COMPILER, *flags, source, "-o", library, "-lm"], check=True)
    return ctypes.CDLL(str(library))


def _at(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _window(x: Array, y: tuple[int, ...], kernel: int, stride: int, padding: str) -> _Window:
    _, height, width, channels = x.shape
    before = [0, 0]
    if padding == "SAME":
        before = [
            max(0, (o - 1) * stride + kernel - e) // 2
            for o, e in zip(y[1:3], (height, width), strict=True)
        ]
    extents = (channels, height, width, kernel, kernel, stride, stride, *before, *y[1:3])
    return _Window(*extents)


def _out(height: int, width: int, kernel: int, stride: int, padding: str) -> tuple[int, int]:
    if padding == "SAME":
        return -(-height // stride), -(-width // stride)
    return (height - kernel) // stride + 1, (width - kernel) // stride + 1


def _channels_first(x: Array) -> Array:
    return np.ascontiguousarray(x[0].transpose(2, 0, 1))


@pytest.mark.parametrize("geometry", _GEOMETRIES)
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_a_uint8_convolution(
    device: ctypes.CDLL, geometry: tuple[int, int, int, int, int, str], sparsity: float
) -> None:
    height, width, channels, kernel, stride, padding = geometry
    random = np.random.default_rng(1)
    filters, x_zero, w_zero, y_zero = 5, 117, 131, 90
    x = random.integers(0, 256, (1, height, width, channels)).astype(np.uint8)
    weights = random.integers(0, 256, (filters, kernel, kernel, channels)).astype(np.uint8)
    weights[random.random(weights.shape) < sparsity] = w_zero
    bias = random.integers(-3000, 3000, filters).astype(np.int32)
    out = (1, *_out(height, width, kernel, stride, padding), filters)
    x_scale, w_scale, y_scale = np.float32(0.02), np.float32(0.004), np.float32(0.03)
    filters_tensor = constant(weights, quantized(float(w_scale), w_zero))
    graph = single_operator(
        "CONV_2D",
        [
            activation(x.shape, DType.UINT8, quantized(float(x_scale), x_zero)),
            filters_tensor,
            constant(bias, quantized(float(x_scale * w_scale))),
        ],
        [activation(out, DType.UINT8, quantized(float(y_scale), y_zero))],
        Options({"padding": padding, "stride_h": stride, "stride_w": stride}),
    )
    found = mcusim.run(graph, [x], runtime="dnnruntime").outputs[0]

    image, window = _channels_first(x), _window(x, out, kernel, stride, padding)
    matrix = np.ascontiguousarray(weights.transpose(0, 3, 1, 2).reshape(filters, -1))
    columns = matrix.shape[1]
    scales = np.full(filters, x_scale * w_scale / y_scale, np.float32)
    requantize = _Requantize(scales.ctypes.data, y_zero, 0, 255)
    column = np.zeros(columns, np.uint8)
    pixels = out[1] * out[2]
    wanted = np.zeros((filters, pixels), np.uint8)
    storage = stored_weights(filters_tensor)
    crs, kept = _compressed(matrix, w_zero)
    assert storage.stored == kept[0].size
    for pixel in range(pixels):
        row, col = divmod(pixel, out[2])
        device.dnn_im2col_u8(_at(image), ctypes.byref(window), row, col, x_zero, _at(column))
        tail = (
            *(x_zero, ctypes.byref(requantize)),
            *(ctypes.c_void_p(wanted.ctypes.data + pixel), pixels),
        )
        if storage.is_compressed:
            device.dnn_crs_matvec_u8(
                ctypes.byref(crs), _at(column), _at(bias), filters, w_zero, *tail
            )
        else:
            device.dnn_matvec_u8(
                _at(matrix), _at(column), _at(bias), filters, columns, w_zero, *tail
            )
    np.testing.assert_array_equal(found[0].transpose(2, 0, 1).reshape(filters, -1), wanted)


def _compressed(matrix: Array, zero: int) -> tuple[_Crs, tuple[Array, Array, Array]]:
    """Compressed rows of a matrix, and the arrays that they lie in."""
    kept = matrix != zero
    values = np.ascontiguousarray(matrix[kept])
    columns = np.ascontiguousarray(np.nonzero(kept)[1].astype(np.uint16))
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.uint32)
    arrays = (values, columns, starts)
    return _Crs(*(a.ctypes.data for a in arrays)), arrays


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_a_float_dense_layer(device: ctypes.CDLL, sparsity: float) -> None:
    random = np.random.default_rng(2)
    x = random.normal(0, 1, (1, 50)).astype(np.float32)
    weights = random.normal(0, 1, (7, 50)).astype(np.float32)
    weights[random.random(weights.shape) < sparsity] = 0.0
    bias = random.normal(0, 1, 7).astype(np.float32)
    graph = single_operator(
        "FULLY_CONNECTED",
        [activation((1, 50), DType.FLOAT32), constant(weights), constant(bias)],
        [activation((1, 7), DType.FLOAT32)],
    )
    found = mcusim.run(graph, [x], runtime="dnnruntime").outputs[0]
    wanted = np.zeros(7, np.float32)
    if sparsity:
        crs, arrays = _compressed(weights, 0)
        assert arrays[0].dtype == np.float32
        device.dnn_crs_matvec_f32(ctypes.byref(crs), _at(x), _at(bias), 7, _at(wanted), 1)
    else:
        device.dnn_matvec_f32(_at(weights), _at(x), _at(bias), 7, 50, _at(wanted), 1)
    np.testing.assert_array_equal(found[0], wanted)


@pytest.mark.parametrize("geometry", _GEOMETRIES)
@pytest.mark.parametrize("operator", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("dtype", [DType.UINT8, DType.FLOAT32])
def test_pooling(
    device: ctypes.CDLL,
    geometry: tuple[int, int, int, int, int, str],
    operator: str,
    dtype: DType,
) -> None:
    height, width, channels, kernel, stride, padding = geometry
    random = np.random.default_rng(3)
    x = random.integers(0, 256, (1, height, width, channels)).astype(dtype.numpy)
    out = (1, *_out(height, width, kernel, stride, padding), channels)
    is_float = dtype is DType.FLOAT32
    other = operator == "AVERAGE_POOL_2D"
    x_scale, y_scale = np.float32(0.02), np.float32(0.03 if other else 0.02)
    y_zero = 100 if other else 120

    def scale(of: np.float32, zero: int) -> Quantization | None:
        return None if is_float else quantized(float(of), zero)

    graph = single_operator(
        operator,
        [activation(x.shape, dtype, scale(x_scale, 120))],
        [activation(out, dtype, scale(y_scale, y_zero))],
        Options(
            {
                "padding": padding,
                "stride_h": stride,
                "stride_w": stride,
                "filter_height": kernel,
                "filter_width": kernel,
            }
        ),
    )
    found = mcusim.run(graph, [x], runtime="dnnruntime").outputs[0]
    image, window = _channels_first(x), _window(x, out, kernel, stride, padding)
    wanted = np.zeros((channels, *out[1:3]), dtype.numpy)
    name = f"dnn_{'average' if other else 'max'}_pool_{'f32' if is_float else 'u8'}"
    middle: list[Any] = []
    if other and not is_float:
        requantize = _Requantize(None, y_zero, 0, 255)
        middle = [120, ctypes.c_float(float(x_scale / y_scale)), ctypes.byref(requantize)]
    getattr(device, name)(_at(image), ctypes.byref(window), *middle, _at(wanted))
    np.testing.assert_array_equal(found[0].transpose(2, 0, 1), wanted)


def test_a_uint8_sum(device: ctypes.CDLL) -> None:
    random = np.random.default_rng(4)
    a, b = random.integers(0, 256, (2, 1, 40)).astype(np.uint8)
    a_scale, b_scale, y_scale = np.float32(0.02), np.float32(0.05), np.float32(0.06)
    tensors = [
        activation((1, 40), DType.UINT8, quantized(float(scale), zero))
        for scale, zero in ((a_scale, 10), (b_scale, 200), (y_scale, 128))
    ]
    graph = single_operator("ADD", tensors[:2], tensors[2:])
    found = mcusim.run(graph, [a, b], runtime="dnnruntime").outputs[0]
    wanted = np.zeros(40, np.uint8)
    requantize = _Requantize(None, 128, 0, 255)
    scales = tuple(ctypes.c_float(float(scale / y_scale)) for scale in (a_scale, b_scale))
    device.dnn_add_u8(_at(a), _at(b), 40, 10, 200, *scales, ctypes.byref(requantize), _at(wanted))
    np.testing.assert_array_equal(found[0], wanted)


def test_softmax(device: ctypes.CDLL) -> None:
    """exp is the C library's, so that the last bit of a float may differ."""
    x: npt.NDArray[np.float32] = np.random.default_rng(5).normal(0, 3, (1, 10)).astype(np.float32)
    tensor = activation((1, 10), DType.FLOAT32)
    graph = single_operator("SOFTMAX", [tensor], [tensor], Options({"beta": 1.0}))
    found = mcusim.run(graph, [x], runtime="dnnruntime").outputs[0]
    wanted = np.zeros(10, np.float32)
    device.dnn_softmax_f32(_at(x), 10, _at(wanted))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)
