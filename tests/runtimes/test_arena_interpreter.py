"""The arena against the interpreter of the ``tflite-micro`` package, for operators never counted.

The package is an x86-64 build, so the same plan is made with that platform's structure sizes and
with the few structures in which the package differs from a device build: its allocator records
what it gives out, and tensors may be compressed.
"""

from __future__ import annotations

import pytest

from mcusim.graph import Graph
from mcusim.runtimes import arena, tflm_structs
from mcusim.runtimes.abi import X86_64, Struct
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.kernel_requests import Target
from mcusim.tflite import load, write
from tests.runtimes.arena_models import (
    control_flow_models,
    offline_planned_model,
    single_operator_models,
)
from tests.runtimes.recorded_arena import recorded_arena
from tests.shared import needs_shared, shared_models

_RECORDED = Struct("RecordedAllocation", "3 pointer")

#: Members that ``USE_TFLM_COMPRESSION`` appends: scratch buffers for what it unpacks.
_COMPRESSION = {
    "ASSIGN_VARIABLE": "int32",
    "CONCATENATION": "10 int32",
    "CONV_2D": "2 int32",
    "DEPTHWISE_CONV_2D": "2 int32",
    "FULLY_CONNECTED": "2 int32",
}

MODELS = [
    *single_operator_models(),
    *control_flow_models(),
    ("offline plan", offline_planned_model([-1, 160, -1, 512, -1])),
    ("offline plan of all", offline_planned_model([1024, 160, 320, 512, 0])),
]


@pytest.fixture
def _as_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    single = tflm_structs.SINGLE_ARENA_BUFFER_ALLOCATOR
    recording = Struct("RecordingSingleArenaBufferAllocator", single, "4 pointer")
    monkeypatch.setattr(arena, "SINGLE_ARENA_BUFFER_ALLOCATOR", recording)
    allocator = Struct(
        "RecordingMicroAllocator", tflm_structs.MICRO_ALLOCATOR, "pointer", (8, _RECORDED)
    )
    monkeypatch.setattr(arena, "MICRO_ALLOCATOR", allocator)
    monkeypatch.setattr(arena, "SUBGRAPH_ALLOCATIONS", Struct("SubgraphAllocations", "3 pointer"))
    for operator, more in _COMPRESSION.items():
        own = tflm_structs.OP_DATA.get(operator)
        members = own.members if own else ()
        monkeypatch.setitem(tflm_structs.OP_DATA, operator, Struct("OpData", *members, more))
    # The package is two months younger than the device builds; its options are longer.
    options = tflm_structs.OPTIONS["FULLY_CONNECTED"]
    younger = Struct("TfLiteFullyConnectedParams", options, "2 pointer")
    monkeypatch.setitem(tflm_structs.OPTIONS, "FULLY_CONNECTED", younger)
    convolution, _, *rest = tflm_structs.OP_DATA["TRANSPOSE_CONV"].members
    monkeypatch.setitem(
        tflm_structs.OP_DATA, "TRANSPOSE_CONV", Struct("OpData", convolution, "4 int32", *rest)
    )


def assert_same_arena(graph: Graph, content: bytes) -> None:
    memory = plan_arena(graph, Target(X86_64)).memory
    ours = {"head": memory.head_bytes, "tail": memory.arena_bytes - memory.head_bytes}
    assert ours == recorded_arena(content)


@pytest.mark.usefixtures("_as_the_package")
@pytest.mark.parametrize("graph", [pytest.param(g, id=name) for name, g in MODELS])
def test_arena_equals_the_interpreters(graph: Graph):
    assert_same_arena(graph, write(graph))


@needs_shared
@pytest.mark.usefixtures("_as_the_package")
@pytest.mark.parametrize("name", ["str_ww_ref_model", "vww_96_int8", "conv32_cifar10"])
def test_arena_of_a_network_equals_the_interpreters(name: str):
    path = next(p for p in shared_models() if p.stem == name)
    assert_same_arena(load(path), path.read_bytes())
