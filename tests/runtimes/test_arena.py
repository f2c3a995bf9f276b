"""The arena against ``arena_used_bytes()`` of counted firmware, to the byte."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Operator, Options, Subgraph, Tensor
from mcusim.interpreter import Interpreter
from mcusim.runtimes import MemoryPlan
from mcusim.runtimes.abi import ARM_EABI
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.kernel_requests import Target
from mcusim.tflite import load, read, write
from tests.oracles import activation, single_operator, tflm_refuses
from tests.runtimes.arena_models import control_flow_models, offline_planned_model
from tests.shared import SHARED, needs_shared, shared_models

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "arena"

REFERENCE = Target(ARM_EABI)
CMSIS_NN_WITH_DSP = Target(ARM_EABI, cmsis_nn=True, simd="dsp")
CMSIS_NN_WITHOUT_DSP = Target(ARM_EABI, cmsis_nn=True, simd="none")


def planned(graph: Graph, target: Target = REFERENCE) -> MemoryPlan:
    return plan_arena(graph, target).memory


def test_single_operators_take_what_devices_counted():
    """See tests/golden/arena/README.md for how these were counted."""
    targets = {
        "reference": REFERENCE,
        "cmsis_nn_without_dsp": CMSIS_NN_WITHOUT_DSP,
        "cmsis_nn_with_dsp": CMSIS_NN_WITH_DSP,
    }
    wrong = []
    with ZipFile(GOLDEN / "single_operators.zip") as models, (GOLDEN / "counted.csv").open() as f:
        for row in csv.DictReader(f):
            graph = read(models.read(f"{row['id']}.tflite"))
            for column, target in targets.items():
                arena = planned(graph, target).arena_bytes
                if arena != int(row[column]):
                    wrong.append(f"{row['id']}, {column}: {arena}, counted {row[column]}")
    assert not wrong


@needs_shared
def test_every_counted_single_operator_is_exact():
    """825 models on five cores, with both kernel sets, at up to four optimization levels."""
    with ZipFile(SHARED / "golden" / "tflm" / "single_operators.zip") as archive:
        graphs = {
            Path(name).stem: read(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".tflite")
        }

    @cache
    def arena(model: str, kernels: str, core: str) -> int:
        simd = "none" if core in ("cortex-m0plus", "cortex-m3") else "dsp"
        return planned(graphs[model], Target(ARM_EABI, kernels == "cmsis", simd)).arena_bytes

    exact, wrong = 0, set()
    with (SHARED / "counted" / "tflm_framework.csv").open() as f:
        for row in csv.DictReader(f):
            if row["id"] in graphs:
                key = row["id"], row["kernels"], row["core"]
                if arena(*key) == int(row["arena_used_bytes"]):
                    exact += 1
                else:
                    wrong.add(key)
    assert not wrong
    assert exact > 15_000


@needs_shared
def test_every_counted_network_is_exact():
    graphs = {path.stem: load(path) for path in shared_models()}
    seen = set()
    with (SHARED / "counted" / "tflm_models.csv").open() as f:
        for row in csv.DictReader(f):
            if row["lib"] == "tflm_2026":
                target = CMSIS_NN_WITH_DSP if row["kernels"] == "cmsis" else REFERENCE
                arena = planned(graphs[row["model"]], target).arena_bytes
                assert arena == int(row["arena_used_bytes"]), (row["model"], row["kernels"])
                seen.add((row["model"], row["kernels"]))
    assert ("kws_ref_model", "cmsis") in seen
    assert ("01b_ResNet20_CIFAR-10_Q-full", "ref") in seen


@pytest.mark.parametrize("name", ["if", "while", "variables"])
def test_buffers_that_live_together_do_not_overlap(name: str):
    placements = planned(dict(control_flow_models())[name]).placements
    for i, a in enumerate(placements):
        for b in placements[:i]:
            together = a.first_operator <= b.last_operator and b.first_operator <= a.last_operator
            apart = (
                a.offset_bytes + a.size_bytes <= b.offset_bytes
                or b.offset_bytes + b.size_bytes <= a.offset_bytes
            )
            assert apart or not together, (a, b)


def test_parts_add_up():
    memory = planned(dict(control_flow_models())["variables"])
    assert memory.arena_bytes == memory.head_bytes + sum(p.size_bytes for p in memory.persistent)
    assert memory.head_bytes == max(p.offset_bytes + p.size_bytes for p in memory.placements)
    names = [part.name for part in memory.persistent]
    assert "ASSIGN_VARIABLE: value of the variable" in names


def test_inputs_live_from_before_the_first_operator():
    x = activation((1, 4), DType.FLOAT32)
    first, second = planned(single_operator("FLOOR", [x], [x])).placements
    assert (first.first_operator, first.last_operator) == (-1, 0)
    assert (second.first_operator, second.last_operator) == (0, 0)


def test_a_models_own_plan_is_kept():
    graph = offline_planned_model([-1, 160, -1, 512, -1])
    offsets = {p.tensor: p.offset_bytes for p in planned(graph).placements}
    assert (offsets[1], offsets[3]) == (160, 512)


def test_a_plan_for_another_number_of_tensors_is_refused():
    with pytest.raises(ModelError, match="OfflineMemoryAllocation plans 4 tensors"):
        planned(offline_planned_model([-1, 160, -1, 512]))


def test_subgraphs_that_call_each_other_are_refused():
    flag = Tensor(0, "flag", (1,), DType.BOOL)
    x, y = Tensor(1, "x", (1,), DType.FLOAT32), Tensor(2, "y", (1,), DType.FLOAT32)
    options = Options({"then_subgraph_index": 0, "else_subgraph_index": 0})
    call = Operator("IF", (0, 1), (2,), options, "IfOptions")
    with pytest.raises(ModelError, match="call each other"):
        planned(Graph((Subgraph("main", (flag, x, y), (0, 1), (2,), (call,)),)))


def test_tensors_without_a_size_are_refused():
    text = activation((1,), DType.STRING)
    with pytest.raises(ModelError, match="string"):
        planned(single_operator("FLOOR", [text], [text]))


def test_a_tensor_of_too_few_dimensions_is_refused():
    flat = activation((4,), DType.FLOAT32)
    with pytest.raises(ModelError, match=r"operator 0 \(DEPTHWISE_CONV_2D\)"):
        planned(single_operator("DEPTHWISE_CONV_2D", [flat, flat], [flat]))


@pytest.mark.parametrize(("shape", "refused"), [((), True), ((3,), True), ((0,), False)])
def test_intermediate_tensors_are_refused_where_the_interpreter_refuses(
    shape: tuple[int, ...], refused: bool
):
    x = activation((1, 4), DType.FLOAT32)
    middle = activation(shape, DType.INT16)
    graph = single_operator("FLOOR", [x], [x], intermediates=[middle])
    assert tflm_refuses(write(graph), [np.zeros((1, 4), np.float32)]) == refused
    if refused:
        with pytest.raises(UnsupportedOperatorError, match="intermediate tensor"):
            planned(graph)
        with pytest.raises(UnsupportedOperatorError, match="intermediate tensor"):
            Interpreter(graph)
    else:
        assert planned(graph).head_bytes == 32
        Interpreter(graph)
