"""Models under CMSIS-NN of each generation: recorded bits, what is refused, what is said."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import mcusim
from mcusim.errors import InputError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Options
from mcusim.interpreter import Interpreter
from mcusim.report import estimate_schema
from mcusim.runtimes import canonical_runtime, plan
from mcusim.tflite import read
from tests.oracles import activation, quantized, single_operator
from tests.shared import SHARED, needs_shared, shared_models
from tests.small_models import convolution, pooling

BOARD = mcusim.load_board("nucleo-l496zg")
GOLDEN = SHARED / "golden" / "tflm"
GENERATIONS = ("cmsis-nn", "cmsis-nn@2022", "cmsis-nn@2021", "cmsis-nn@2020")


def recorded(kind: str) -> list[Path]:
    """Recorded tensors of the integer networks."""
    floats = ("fp32", "Q-none", "Resnet.")
    return [p for p in sorted(GOLDEN.glob(f"*.{kind}.npz")) if not any(f in p.name for f in floats)]


def assert_recorded(path: Path, runtime: str) -> None:
    (model,) = (p for p in shared_models() if p.stem == path.name.split(".tflm")[0])
    graph, golden = mcusim.load_model(model), np.load(path)
    x = golden["input"].reshape(graph.inputs[0].shape)
    tensors = mcusim.run(graph, x, runtime=runtime, tensors=True).tensors
    names = [name for name in golden.files if name[0] == "t" and name[1:].isdigit()]
    assert names
    for name in names:
        mine = tensors[int(name[1:])]
        np.testing.assert_array_equal(mine, golden[name].reshape(mine.shape), err_msg=name)


@needs_shared
@pytest.mark.parametrize("path", recorded("tflm2026_ref"), ids=lambda p: p.name.split(".tflm")[0])
def test_every_tensor_is_the_recorded_one_of_2026(path):
    """The build with CMSIS-NN gave the same tensors as the one without."""
    assert_recorded(path, "cmsis-nn")


@needs_shared
@pytest.mark.parametrize(
    "path", recorded("tflm_v2.2.0_cmsis"), ids=lambda p: p.name.split(".tflm")[0]
)
def test_every_tensor_is_the_recorded_one_of_2020(path):
    assert_recorded(path, "cmsis-nn@2020")


def counted_networks() -> list[dict[str, str]]:
    if not SHARED.is_dir():
        return []
    with (SHARED / "counted" / "tflm_models.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["kernels"] == "cmsis"]


@needs_shared
@pytest.mark.parametrize(
    "row", counted_networks(), ids=lambda row: f"{row['model']}-{row['lib']}-{row['opt']}"
)
def test_a_network_executes_what_was_counted(row):
    """Instructions of Invoke, framework included, and the arena to the byte where it is told.

    The profiles of 2026 have not seen the networks; the glue of 2020 was counted in nothing else.
    """
    (path,) = (p for p in shared_models() if p.stem == row["model"])
    runtime, bound = ("cmsis-nn", 0.01) if row["lib"] == "tflm_2026" else ("cmsis-nn@2020", 0.03)
    found = mcusim.estimate(mcusim.load_model(path), BOARD, runtime, f"gcc-{row['opt']}")
    assert found.instructions.total == pytest.approx(float(row["invoke_instr"]), rel=bound)
    assert all(layer.is_exact for layer in found.layers)
    assert str(found.arena_bytes or "") == row["arena_used_bytes"]


def device_mismatches() -> dict[str, tuple[int, float]]:
    """Elements in which firmware with CMSIS-NN differs from the interpreter, and by how much."""
    found = {}
    with (SHARED / "counted" / "tflm_grid.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["kernels"], row["core"], row["opt"]) == ("cmsis", "cortex-m4", "O3"):
                found[row["id"]] = (int(row["mismatch"]), float(row["maxdiff"]))
    return found


@needs_shared
@pytest.mark.parametrize("core", ["m4", "m3"])
def test_single_operators_are_what_firmware_computes(core):
    """As the interpreter, and where firmware is known to differ in as many elements, as far.

    SUB is left out: CMSIS-NN has none, and firmware computes its multiplier in float32.
    """
    known = device_mismatches()
    with (
        zipfile.ZipFile(GOLDEN / "single_operators.zip") as archive,
        np.load(GOLDEN / "single_operators.npz") as arrays,
    ):
        for file in archive.namelist():
            name = Path(file).stem
            if "_f32_" in name or name.startswith("sub_") or name not in known:
                continue
            graph = read(archive.read(file))
            inputs = [arrays[f"{name}.in{k}"].reshape(t.shape) for k, t in enumerate(graph.inputs)]
            outputs = Interpreter(graph, "cmsis-nn", core=core).invoke(inputs).outputs
            apart = [
                np.abs(mine.astype(np.float64) - arrays[f"{name}.out{k}"].reshape(mine.shape))
                for k, mine in enumerate(outputs)
            ]
            differing = sum(int((a > 0).sum()) for a in apart)
            assert (differing, max(float(a.max()) for a in apart)) == known[name], name


def test_a_batch_is_as_many_single_inferences():
    x = np.random.default_rng(0).integers(-128, 128, (5, 1, 12, 12, 16)).astype(np.int8)
    for runtime in GENERATIONS:
        interpreter = Interpreter(convolution(), runtime)
        batch = interpreter.invoke(x).outputs[0]
        for one, expected in zip(x, batch, strict=True):
            np.testing.assert_array_equal(interpreter.invoke(one).outputs[0], expected)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("cmsis-nn@2026", "cmsis-nn"), ("cmsis-nn", "cmsis-nn"), ("cmsis-nn@2020", "cmsis-nn@2020")],
)
def test_the_newest_generation_needs_no_year(name, canonical):
    assert canonical_runtime(name) == canonical
    assert plan(convolution(), name).runtime == canonical


@pytest.mark.parametrize("name", ["cmsis-nn@2019", "tflm@2019", "cmsis-nn@", "cmsis_nn"])
def test_what_is_no_runtime_is_named_with_those_there_are(name):
    with pytest.raises(InputError, match="cmsis-nn@2022, cmsis-nn@2021, cmsis-nn@2020"):
        mcusim.run(convolution(), np.zeros((1, 12, 12, 16), np.int8), runtime=name)


@pytest.mark.parametrize("runtime", ["tflm", "cmsis-nn@2020", "cmsis-nn@2021"])
def test_no_single_rounding_where_the_library_has_none(runtime):
    with pytest.raises(InputError, match="rounds once"):
        Interpreter(convolution(), runtime, single_rounding=True)


def test_an_older_library_is_unknown_without_dsp_instructions():
    for runtime, core in (
        ("cmsis-nn@2021", "m3"),
        ("cmsis-nn@2022", "m0plus"),
        ("cmsis-nn@2020", "m55"),
    ):
        with pytest.raises(InputError, match="only for cores with DSP instructions"):
            plan(convolution(), runtime, core=core)


def test_2020_runs_reference_kernels_without_dsp_instructions():
    (call,) = plan(convolution(), "cmsis-nn@2020", core="m3").layers[0].calls
    assert call.kernel == "reference_integer_ops::ConvPerChannel"
    assert "only on cores with DSP instructions" in call.reason


def maximum() -> Graph:
    x = activation((1, 8, 8, 4), DType.INT8, quantized(0.1))
    y = activation((1, 4, 4, 4), DType.INT8, quantized(0.1))
    window = {"stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2}
    options = Options({"padding": "VALID", **window})
    return single_operator("MAX_POOL_2D", [x], [y], options, "Pool2DOptions")


def test_2020_refuses_an_int8_maximum_with_the_operator():
    for use in (
        lambda: Interpreter(maximum(), "cmsis-nn@2020"),
        lambda: mcusim.estimate(maximum(), BOARD, "cmsis-nn@2020"),
    ):
        with pytest.raises(UnsupportedOperatorError, match=r"operator 0 \(MAX_POOL_2D\)"):
            use()
    assert mcusim.estimate(maximum(), BOARD, "cmsis-nn@2021").layers[0].kernel == "arm_max_pool_s8"


@pytest.mark.parametrize("runtime", GENERATIONS[1:])
def test_the_arena_of_an_older_generation_is_unknown(runtime):
    found = mcusim.estimate(pooling(), BOARD, runtime)
    assert (found.arena_bytes, found.ram_bytes, found.memory) == (None, None, None)
    content = found.to_dict()
    jsonschema.validate(content, estimate_schema())
    assert content["runtime"] == runtime
    assert content["arena_bytes"] is None


@pytest.mark.parametrize("runtime", ["cmsis-nn@2022", "cmsis-nn@2021"])
def test_a_framework_that_was_not_counted_says_so(runtime):
    found = mcusim.estimate(convolution(), BOARD, runtime)
    for part in (found.construct, found.allocate, found.invoke):
        assert any("that of 2026 stands for it" in warning for warning in part.warnings)
    newest = mcusim.estimate(convolution(), BOARD, "cmsis-nn")
    assert not newest.invoke.warnings


def test_2020_fails_where_its_scratch_array_ends():
    """Columns of 3x3x400 inputs take 14,400 bytes; the array has 13,000."""
    found = mcusim.estimate(convolution(channels=400), BOARD, "cmsis-nn@2020")
    assert found.layers[0].scratch_bytes == 2 * 2 * 9 * 400
    assert any("fails on a device" in warning for warning in found.layers[0].warnings)


@pytest.mark.parametrize("runtime", GENERATIONS)
def test_a_float_layer_says_that_the_reference_kernel_runs(runtime):
    layer = mcusim.estimate(convolution(DType.FLOAT32), BOARD, runtime).layers[0]
    assert layer.reason == "CMSIS-NN has no float32 kernel for it: TFLM's reference kernel"
    assert layer.kernel == "reference_ops::Conv"
    assert layer.is_priced


@needs_shared
@pytest.mark.parametrize("runtime", GENERATIONS)
def test_every_layer_has_a_reason(runtime):
    for path in shared_models():
        if "int8" in path.stem or "Q-full" in path.stem:
            for layer in plan(mcusim.load_model(path), runtime).layers:
                assert layer.calls[0].reason, (path.stem, layer.node.name)


def test_planning_cmsis_nn_imports_no_compiler():
    code = (
        "import sys, mcusim\n"
        "from tests.small_models import convolution\n"
        "mcusim.estimate(convolution(), mcusim.load_board('nucleo-l496zg'), 'cmsis-nn')\n"
        "sys.exit('numba' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
