"""Layers, functions and traces of a program whose every instruction is known."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.calls import aside
from mcusim.emulator.images import Symbol
from mcusim.emulator.layers import LayerWatch, run_inference
from mcusim.emulator.machine import Machine, StopReason
from mcusim.emulator.names import plain_name
from mcusim.emulator.profile import profile
from mcusim.emulator.traces import Timeline, perfetto, record, speedscope
from mcusim.errors import FirmwareError
from tests.emulator.thumb import BASE, machine_with

#: main calls invoke, which calls two operators: the first loops ten times, the second calls a
#: helper twice.
_CODE = bytes.fromhex(
    "00f001f800be10b50120022100f003f800f005f810bd0a22013afdd1704710b500f003f800f001f810bd01337047"
)
_INVOKE = "_ZN6tflite16MicroInterpreter6InvokeEv"
_FIRST = "_ZN6tflite12_GLOBAL__N_18ConvEvalEP13TfLiteContextP10TfLiteNode"
_SECOND = "_ZN6tflite11SoftmaxEvalEP13TfLiteContextP10TfLiteNode"
_SYMBOLS = (
    Symbol(BASE, 6, "main", "function"),
    Symbol(BASE + 0x06, 16, _INVOKE, "function"),
    Symbol(BASE + 0x16, 8, _FIRST, "function"),
    Symbol(BASE + 0x1E, 12, _SECOND, "function"),
    Symbol(BASE + 0x2A, 4, "helper", "function"),
)


@pytest.fixture
def machine() -> Machine:
    return machine_with(_CODE, "m4", *_SYMBOLS)


def test_operators_are_told_by_symbols(machine: Machine) -> None:
    watch = LayerWatch(machine)
    machine.run()
    (inference,) = watch.inferences
    assert inference.is_complete
    assert [layer.function.name for layer in inference.layers] == [_FIRST, _SECOND]
    # movs, ten times subs and bne, bx; push, two bl, two helpers of two, pop.
    assert [layer.counts.mix().total for layer in inference.layers] == [22, 8]
    assert [layer.counts.mix()["taken_conditional"] for layer in inference.layers] == [9, 0]
    assert [(layer.context, layer.node) for layer in inference.layers] == [(1, 2), (1, 2)]
    assert inference.counts is not None
    assert inference.counts.mix().total == 22 + 8 + 6
    assert inference.layers[0].end_cycles <= inference.layers[1].start_cycles


def test_an_inference_pauses_behind_each_operator(machine: Machine) -> None:
    watch = LayerWatch(machine, pauses=True)
    seen = [layer.index for layer in run_inference(machine, watch, 1.0)]
    assert seen == [0, 1]
    assert watch.inferences[0].counts is not None
    assert watch.inferences[0].counts.mix().total == 36


def test_operators_are_told_where_the_linker_optimized() -> None:
    """Local functions have other names then, and the interpreter is part of main."""
    symbols = (
        Symbol(BASE, 22, "main", "function"),
        Symbol(BASE + 0x16, 8, _FIRST + ".lto_priv.0", "function"),
        Symbol(BASE + 0x1E, 12, _SECOND + ".lto_priv.12", "function"),
        Symbol(BASE + 0x2A, 4, "helper", "function"),
    )
    machine = machine_with(_CODE, "m4", *symbols)
    watch = LayerWatch(machine, operators=2)
    machine.run()
    (inference,) = watch.inferences
    assert inference.is_complete
    assert [layer.counts.mix().total for layer in inference.layers] == [22, 8]
    assert plain_name(_FIRST + ".lto_priv.0") == "tflite::ConvEval"


def test_what_is_run_aside_leaves_no_trace(machine: Machine) -> None:
    alone = machine_with(_CODE, "m4", *_SYMBOLS)
    alone.run()
    watch = LayerWatch(machine, pauses=True)
    for _ in run_inference(machine, watch, 1.0):
        with aside(machine):
            machine.call("helper")
    assert machine.counts().mix().total == alone.counts().mix().total
    assert machine.cycles == pytest.approx(alone.cycles)


def test_firmware_that_does_not_infer_says_so() -> None:
    machine = machine_with(_CODE, "m4", _SYMBOLS[0])
    watch = LayerWatch(machine, pauses=True)
    assert not watch.knows_operators
    with pytest.raises(FirmwareError, match="no inference ended; fault"):
        list(run_inference(machine, watch, 1.0))


def test_functions_have_their_own_blocks(machine: Machine) -> None:
    stop = machine.run()
    assert stop.reason is StopReason.FAULT
    found = profile(machine, stop)
    by_name = {function.name: function for function in found.functions}
    assert {n: f.part.instructions.total for n, f in by_name.items()} == {
        "main": 2,
        "tflite::MicroInterpreter::Invoke": 6,
        "tflite::ConvEval": 22,
        "tflite::SoftmaxEval": 4,
        "helper": 4,
    }
    assert by_name["helper"].entered == 2
    assert found.functions[0].name == "tflite::ConvEval"
    assert found.energy_j > 0
    assert found.latency_interval_s[0] < found.latency_s < found.latency_interval_s[1]
    json.dumps(found.to_dict(), allow_nan=False)


def test_spans_nest_as_calls_do(machine: Machine) -> None:
    record(machine)
    machine.run()
    spans = list(Timeline.of(machine).spans())
    assert [(span.name, span.depth) for span in spans] == [
        ("tflite::ConvEval", 2),
        ("helper", 3),
        ("helper", 3),
        ("tflite::SoftmaxEval", 2),
        ("tflite::MicroInterpreter::Invoke", 1),
        ("main", 0),
    ]
    assert all(span.start <= span.end for span in spans)
    assert spans[-1].end == pytest.approx(machine.cycles)


def test_traces_are_what_their_viewers_read(machine: Machine) -> None:
    """Chrome's trace format: B and E nest on each track. speedscope: events in order of time."""
    watch = LayerWatch(machine)
    record(machine)
    stop = machine.run()
    timeline = Timeline.of(machine)
    trace = json.loads(json.dumps(perfetto(machine, timeline, profile(machine, stop), watch)))
    depth = 0
    for event in trace["traceEvents"]:
        depth += {"B": 1, "E": -1}.get(event["ph"], 0)
        assert depth >= 0
    assert depth == 0
    layers = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in layers] == ["0 tflite::ConvEval", "1 tflite::SoftmaxEval"]
    names = {event["name"] for event in trace["traceEvents"] if event["ph"] == "C"}
    assert names == {"waiting for memory (%)", "current (mA)"}
    flame = speedscope(machine, timeline)
    events = flame["profiles"][0]["events"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert sum(1 if event["type"] == "O" else -1 for event in events) == 0


@pytest.mark.parametrize(
    ("mangled", "plain"),
    [
        ("main", "main"),
        ("_Z3fooi", "foo"),
        (_FIRST, "tflite::ConvEval"),
        ("_ZNK6tflite5Model4nameEv", "tflite::Model::name"),
        ("_ZN3FooC1Ev", "Foo::Foo"),
        ("_ZN3FooD2Ev", "Foo::~Foo"),
        ("_ZN99short", "_ZN99short"),
        ("_Z", "_Z"),
    ],
)
def test_plain_names(mangled: str, plain: str) -> None:
    """The Itanium ABI's encoding of names, section 5.1."""
    assert plain_name(mangled) == plain
