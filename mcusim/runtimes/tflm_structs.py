"""The structures that TFLite Micro keeps in a tensor arena, as its sources declare them.

Source: tflite-micro 90b983c (August 2026) built with ``TF_LITE_STATIC_MEMORY`` and without
``USE_TFLM_COMPRESSION``: ``core/c/common.h``, ``micro/micro_allocator.h``, ``arena_allocator/``,
``memory_planner/``, ``core/c/builtin_op_data.h``, ``kernels/internal/types.h`` and
``micro/kernels/*.{h,cc}``; CMSIS-NN's ``arm_nn_types.h``. C's ``int`` and ``int32_t`` are both
written int32, ``size_t`` is written pointer.
"""

from __future__ import annotations

from mcusim.runtimes.abi import Struct

__all__ = [
    "AFFINE_QUANTIZATION",
    "BUILTIN_DATA_ALLOCATOR",
    "EVAL_TENSOR",
    "GREEDY_MEMORY_PLANNER",
    "MICRO_ALLOCATOR",
    "MICRO_RESOURCE_VARIABLE",
    "MICRO_RESOURCE_VARIABLES",
    "NODE_AND_REGISTRATION",
    "OPTIONS",
    "OP_DATA",
    "OP_DATA_CMSIS_NN",
    "QUANTIZATION_BATCH_MATMUL",
    "SCRATCH_BUFFER_HANDLE",
    "SINGLE_ARENA_BUFFER_ALLOCATOR",
    "SUBGRAPH_ALLOCATIONS",
    "TENSOR",
]

# What the interpreter itself keeps.
SINGLE_ARENA_BUFFER_ALLOCATOR = Struct(
    "SingleArenaBufferAllocator",
    "2 pointer",  # two bases with virtual functions
    "5 pointer",  # ends of the buffer, head, tail, temp
    "pointer",  # checksum of temporary buffers
    "int32",  # their number
)
GREEDY_MEMORY_PLANNER = Struct(
    "GreedyMemoryPlanner", "pointer", "2 int32", "4 pointer", "2 int32", "pointer", "bool"
)
MICRO_ALLOCATOR = Struct("MicroAllocator", "5 pointer", "bool", "3 pointer")
BUILTIN_DATA_ALLOCATOR = Struct("MicroBuiltinDataAllocator", "2 pointer")
SUBGRAPH_ALLOCATIONS = Struct("SubgraphAllocations", "2 pointer")
MICRO_RESOURCE_VARIABLES = Struct("MicroResourceVariables", "pointer", "2 int32")
MICRO_RESOURCE_VARIABLE = Struct("MicroResourceVariable", "4 pointer", "int8")
SCRATCH_BUFFER_HANDLE = Struct("ScratchBufferHandle", "pointer")

# Tensors and nodes.
EVAL_TENSOR = Struct("TfLiteEvalTensor", "2 pointer", "enum")
TENSOR = Struct(
    "TfLiteTensor",
    Struct("TfLiteQuantization", "int32", "pointer"),  # its enumeration is declared as int
    Struct("TfLiteQuantizationParams", "float", "int32"),
    "3 pointer",  # data, dims, bytes
    "2 enum",
    "bool",
)
AFFINE_QUANTIZATION = Struct("TfLiteAffineQuantization", "2 pointer", "int32")
NODE_AND_REGISTRATION = Struct(
    "NodeAndRegistration", Struct("TfLiteNode", "6 pointer", "int32"), "pointer"
)

# What the parser makes of an operator's options; operators that are not here get nothing.
_ADD = Struct("TfLiteAddParams", "enum", "bool")
_POOL = Struct(
    "TfLitePoolParams", "enum", "4 int32", "enum", Struct("TfLitePaddingValues", "4 int32")
)
_REDUCER = Struct("TfLiteReducerParams", "bool")
_ARG = Struct("TfLiteArgMaxParams", "enum")
_RESIZE = Struct("TfLiteResizeParams", "2 bool")
_BLOCK = Struct("TfLiteSpaceToDepthParams", "int32")
_SPLIT = Struct("TfLiteSplitParams", "int32")
_PACK = Struct("TfLitePackParams", "2 int32")
_TWO_SUBGRAPHS = Struct("TfLiteIfParams", "2 int32")

OPTIONS: dict[str, Struct] = {
    "ADD": _ADD,
    "ARG_MAX": _ARG,
    "ARG_MIN": _ARG,
    "AVERAGE_POOL_2D": _POOL,
    "BATCH_MATMUL": Struct("TfLiteBatchMatMulParams", "3 bool"),
    "CALL_ONCE": Struct("TfLiteCallOnceParams", "int32"),
    "CAST": Struct("TfLiteCastParams", "2 enum"),
    "CONCATENATION": Struct("TfLiteConcatenationParams", "int32", "enum"),
    "CONV_2D": Struct("TfLiteConvParams", "enum", "2 int32", "enum", "2 int32", "enum"),
    "CUMSUM": Struct("TfLiteCumsumParams", "2 bool"),
    "DEPTHWISE_CONV_2D": Struct("TfLiteDepthwiseConvParams", "enum", "3 int32", "enum", "2 int32"),
    "DEPTH_TO_SPACE": _BLOCK,
    "DIV": Struct("TfLiteDivParams", "enum"),
    "FULLY_CONNECTED": Struct("TfLiteFullyConnectedParams", "2 enum", "2 bool", "enum"),
    "GATHER": Struct("TfLiteGatherParams", "2 int32"),
    "IF": _TWO_SUBGRAPHS,
    "L2_NORMALIZATION": Struct("TfLiteL2NormParams", "enum"),
    "L2_POOL_2D": _POOL,
    "LEAKY_RELU": Struct("TfLiteLeakyReluParams", "float"),
    "MAX_POOL_2D": _POOL,
    "MEAN": _REDUCER,
    "MIRROR_PAD": Struct("TfLiteMirrorPaddingParams", "enum"),
    "MUL": Struct("TfLiteMulParams", "enum"),
    "PACK": _PACK,
    "REDUCE_ALL": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_MIN": _REDUCER,
    "RESHAPE": Struct("TfLiteReshapeParams", "8 int32", "int32"),
    "RESIZE_BILINEAR": _RESIZE,
    "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "SHAPE": Struct("TfLiteShapeParams", "enum"),
    "SOFTMAX": Struct("TfLiteSoftmaxParams", "float"),
    "SPACE_TO_DEPTH": _BLOCK,
    "SPLIT": _SPLIT,
    "SPLIT_V": _SPLIT,
    "SQUEEZE": Struct("TfLiteSqueezeParams", "8 int32", "int32"),
    "STRIDED_SLICE": Struct("TfLiteStridedSliceParams", "5 int32", "bool"),
    "SUB": _ADD,
    "SUM": _REDUCER,
    "SVDF": Struct("TfLiteSVDFParams", "int32", "enum", "bool"),
    "TRANSPOSE_CONV": Struct("TfLiteTransposeConvParams", "enum", "2 int32", "2 enum"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Struct(
        "TfLiteUnidirectionalSequenceLSTMParams", "enum", "2 float", "3 bool"
    ),
    "UNPACK": _PACK,
    "VAR_HANDLE": Struct("TfLiteVarHandleParams", "2 pointer"),
    "WHILE": _TWO_SUBGRAPHS,
}

# Parameters shared by several kernels (kernels/internal/types.h); its enumerations are one byte.
_PADDING = Struct("TfLitePaddingValues", "4 int32")
_ARITHMETIC = Struct(
    "ArithmeticParams",
    "uint8",  # kind of broadcast
    "10 int32",  # offsets, multipliers, shifts
    "2 int32",  # activation range
    "2 float",
    "2 int64",
    "2 int16",
    "5 int32",  # broadcast shape
)
_CONV_PARAMS = Struct(
    "ConvParams",
    "uint8",
    Struct("PaddingValues", "4 int16"),
    "4 int16",  # strides, dilations
    "5 int32",  # offsets, multiplier, shift
    "2 int32",  # activation range
    "2 float",
)
_FULLY_CONNECTED_PARAMS = Struct(
    "FullyConnectedParams", "5 int32", "2 int32", "2 float", "2 bool", "uint8"
)
_COMPARISON = Struct("OpData", Struct("ComparisonParams", "7 int32", "bool"))
_POOLING = Struct("OpDataPooling", _PADDING, "2 int32", "2 float")
_PAD = Struct("OpData", Struct("PadParams", "int8", "5 int32", "int8", "5 int32", "uint8"), "int32")
_REDUCE = Struct("OpDataReduce", "6 int32", "float", "int32", "float", "2 int32")
_ABS_RSQRT = Struct("OpDataAbsRsqrt", "4 int32", "bool", "int32", "enum")
_SUBGRAPHS = Struct("OpData", "2 int32")
_CONV = Struct(
    "OpDataConv",
    _PADDING,
    "3 int32",  # zero points
    "2 int32",  # multiplier, shift
    "2 pointer",  # per-channel multipliers and shifts
    "2 int32",  # activation range
    "int32",  # buffer of unpacked int4 weights
)
_FULLY_CONNECTED = Struct(
    "OpDataFullyConnected",
    "4 int32",  # multiplier, shift, activation range
    "int32",
    "3 int32",  # zero points
    "int32",  # buffer of unpacked int4 weights
    "2 pointer",  # per-channel multipliers and shifts
    "bool",
)
_BATCH_MATMUL = Struct("OpDataBatchMatmul", "3 pointer", "3 bool")
QUANTIZATION_BATCH_MATMUL = Struct("QuantizationOpDataBatchMatmul", "7 int32")
_SOFTMAX = Struct(
    "SoftmaxParams",
    "double",  # beta
    "4 int32",
    "2 int32",  # diff_min, zero point
    "float",
    "5 pointer",  # tables
)
_GATE = Struct("GateParameters", (2, _FULLY_CONNECTED_PARAMS))
_LSTM = Struct(
    "OpDataLSTM",
    Struct("LstmSizeInfo", "bool", "4 int32"),
    Struct("CellStateInfo", "float", "int16", "int32"),
    "enum",
    (4, _GATE),
    Struct("InterGateParameters", (3, _ARITHMETIC)),
    "4 int32",  # buffers
)

#: What ``Init`` of the reference kernels allocates; operators that are not here allocate nothing.
OP_DATA: dict[str, Struct] = {
    "ABS": _ABS_RSQRT,
    "ADD": Struct("OpDataAdd", "bool", "12 int32", "2 float"),
    "AVERAGE_POOL_2D": _POOLING,
    "BATCH_MATMUL": _BATCH_MATMUL,
    "CALL_ONCE": Struct("OpData", "int32", "bool"),
    "CONCATENATION": Struct(
        "OpData", Struct("ConcatenationParams", "int32", "2 pointer", "2 int32", "float")
    ),
    "CONV_2D": _CONV,
    "DEPTHWISE_CONV_2D": _CONV,
    "DEQUANTIZE": Struct(
        "DequantizeOpData", Struct("DequantizationParams", "double", "int32"), "3 int32"
    ),
    "DIV": Struct("OpDataDiv", "7 int32"),
    "ELU": Struct("OpData", "256 int8"),
    "EQUAL": _COMPARISON,
    "FULLY_CONNECTED": _FULLY_CONNECTED,
    "GREATER": _COMPARISON,
    "GREATER_EQUAL": _COMPARISON,
    "HARD_SWISH": Struct("HardSwishParams", "3 int16", "int32", "int16", "int32"),
    "IF": _SUBGRAPHS,
    "L2_NORMALIZATION": Struct("L2NormalizationParams", "int32"),
    "LEAKY_RELU": Struct("LeakyReluOpData", "6 int32"),
    "LESS": _COMPARISON,
    "LESS_EQUAL": _COMPARISON,
    "LOGISTIC": Struct("OpDataLogistic", "4 int32"),
    "MAX_POOL_2D": _POOLING,
    "MEAN": _REDUCE,
    "MIRROR_PAD": Struct("OpDataMirrorPad", "5 int32"),
    "MUL": Struct("OpDataMul", "7 int32", "2 float"),
    "NOT_EQUAL": _COMPARISON,
    "PAD": _PAD,
    "PADV2": _PAD,
    "PRELU": Struct("PreluParams", "7 int32"),
    "QUANTIZE": Struct(
        "OpDataQuantizeReference", Struct("QuantizationParams", "int32", "double"), "3 int32"
    ),
    "REDUCE_ALL": _REDUCE,
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "RELU": Struct(
        "ReluOpData",
        Struct("ReluParams", Struct("ActivationParams", "uint8", "2 int32"), "4 int32"),
    ),
    "RELU6": Struct("Relu6OpData", "2 int32"),
    "RSQRT": _ABS_RSQRT,
    "SELECT_V2": Struct("OpData", "bool"),
    "SOFTMAX": _SOFTMAX,
    "SPACE_TO_BATCH_ND": Struct("SpaceToBatchParams", "int32"),
    "SQUARED_DIFFERENCE": Struct("OpData", "bool", _ARITHMETIC),
    "STRIDED_SLICE": Struct(
        "StridedSliceParams",
        *("int8", "5 int32") * 3,  # begin, end and strides, each with its length
        "5 uint16",
        "bool",
    ),
    "SUB": Struct("OpDataSub", "bool", "12 int32"),
    "SUM": _REDUCE,
    "SVDF": Struct("OpDataSvdf", "9 int32"),
    "TANH": Struct("OpData", "4 int32"),
    "TRANSPOSE_CONV": Struct("OpData", _CONV_PARAMS, "2 int32", "2 pointer"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM,
    "VAR_HANDLE": Struct("OpData", "int32"),
    "WHILE": _SUBGRAPHS,
}

_LSTM_GATE_CMSIS_NN = Struct(
    "cmsis_nn_lstm_gate", "2 int32", "2 pointer", "2 int32", "2 pointer", "pointer", "enum"
)

#: What ``Init`` of the CMSIS-NN kernels allocates where it differs from the reference.
OP_DATA_CMSIS_NN: dict[str, Struct] = {
    "AVERAGE_POOL_2D": Struct("OpData", _POOLING, "int32"),
    "BATCH_MATMUL": Struct("OpData", _BATCH_MATMUL, Struct("cmsis_nn_dims", "4 int32"), "int32"),
    "CONV_2D": Struct("OpData", _CONV, "int32"),
    "DEPTHWISE_CONV_2D": Struct("OpData", _CONV, "int32"),
    "FULLY_CONNECTED": Struct("OpData", _FULLY_CONNECTED, "2 int32", "pointer", "3 int32"),
    "MAX_POOL_2D": Struct("OpData", _POOLING, "int32"),
    "SOFTMAX": Struct("CMSISNNSoftmaxParams", _SOFTMAX, "2 int32"),
    "SVDF": Struct("CmsisNnOpDataSvdf", "9 int32", "pointer"),
    "TRANSPOSE_CONV": Struct("OpData", _CONV_PARAMS, "3 int32", "2 pointer"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Struct(
        "OpData", _LSTM, Struct("cmsis_nn_lstm_params", "15 int32", (4, _LSTM_GATE_CMSIS_NN))
    ),
}
