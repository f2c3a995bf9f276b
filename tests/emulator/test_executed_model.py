"""A model beside firmware that runs it: firmware of one operator that only copies."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("unicorn")

from mcusim import zoo
from mcusim.emulator.executed_model import compare, models_within
from mcusim.emulator.images import Image, Segment, Symbol
from mcusim.emulator.machine import Machine
from mcusim.errors import FirmwareError
from mcusim.estimator import estimate
from mcusim.graph import DType, Graph, Options
from mcusim.tflite import write
from tests.emulator.thumb import BASE, RAM, board, machine_with, program
from tests.oracles import activation, constant, quantized, single_operator

#: main calls invoke, which calls an operator that copies 16 bytes; then the functions that give a
#: TfLiteEvalTensor, the address of its data first.
_CODE = (
    "00f001f800be10b50120022100f001f810bd094a094b102415781d700132"
    "0133013cf9d170470648704706487047c046000000200001002000000020"
    "000100207000000074000000"
)
_SYMBOLS = (
    Symbol(0x46, 12, "_ZN6tflite16MicroInterpreter6InvokeEv", "function"),
    Symbol(0x52, 20, "_ZN6tflite11EvalReshapeEP13TfLiteContextP10TfLiteNode", "function"),
    Symbol(0x66, 4, "_ZN6tflite5micro12GetEvalInputEPK13TfLiteContextPK10TfLiteNodei", "function"),
    Symbol(0x6A, 4, "_ZN6tflite5micro13GetEvalOutputEPK13TfLiteContextPK10TfLiteNodei", "function"),
)


def model() -> Graph:
    """RESHAPE of int8 1x16 to 4x4."""
    return single_operator(
        "RESHAPE",
        [
            activation((1, 16), DType.INT8, quantized(0.1)),
            constant(np.array([4, 4], np.int32)),
        ],
        [activation((4, 4), DType.INT8, quantized(0.1))],
        Options({"new_shape": (4, 4)}),
        "ReshapeOptions",
    )


def firmware(code: str = _CODE) -> Machine:
    machine = machine_with(bytes.fromhex(code), "m4", *_SYMBOLS)
    machine.write(RAM, bytes(range(100, 116)))
    return machine


def test_equal_bits_and_what_was_executed() -> None:
    graph, machine = model(), firmware()
    predicted = estimate(graph, machine.board)
    found = compare(graph, machine, predicted)
    assert found.is_exact
    (layer,) = found.layers
    assert (layer.differing, layer.values) == (0, 16)
    # Three before the loop, 16 turns of six, one to return.
    assert layer.executed.instructions.total == 3 + 16 * 6 + 1
    assert layer.executed.priced_by == "executed"
    assert layer.predicted is predicted.layers[0]
    assert found.executed.cycles == pytest.approx(
        layer.executed.cycles + found.executed.invoke.cycles
    )
    assert found.executed.to_dict()["build"] == "executed"
    for low_high, value in (
        (found.executed.layers[0].latency_interval_s, layer.executed.latency_s),
        (found.executed.layers[0].energy_interval_j, layer.executed.energy_j),
    ):
        assert 0 < low_high[0] < value < low_high[1]


def test_a_wrong_bit_is_found() -> None:
    """The operator stores the loop's counter instead of what it loaded."""
    assert "15781d70" in _CODE
    graph, machine = model(), firmware(_CODE.replace("15781d70", "15781c70"))
    found = compare(graph, machine, estimate(graph, machine.board))
    assert not found.is_exact
    assert found.layers[0].differing == 16


def test_another_model_is_refused() -> None:
    machine, graph = firmware(), zoo.build("lenet-5")
    operators = len(graph.main.operators)
    with pytest.raises(FirmwareError, match=f"ran 1 operators, lenet-5 has {operators}"):
        compare(graph, machine, estimate(graph, machine.board))


def test_firmware_without_symbols_is_refused() -> None:
    graph = model()
    machine = machine_with(bytes.fromhex(_CODE))
    with pytest.raises(FirmwareError, match="without stripping"):
        compare(graph, machine, estimate(graph, machine.board))


def test_a_model_is_found_in_the_image() -> None:
    content = bytes(8) + write(model())
    image = program(bytes.fromhex(_CODE))
    extra = Segment(0x1000, 0x1000, content, len(content), False)
    whole = Image("firmware", (*image.segments, extra), BASE, 0)
    (found,) = models_within(Machine(whole, board()))
    assert [operator.name for operator in found.main.operators] == ["RESHAPE"]
