"""The estimate: counted totals, what settings change, and what it says when it does not know."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

import mcusim
from mcusim import estimator, pricing
from mcusim.graph import DType
from mcusim.kernels.closest import closest_profile
from mcusim.report import estimate_schema
from mcusim.resources import data_path
from tests.shared import SHARED, needs_shared, shared_models
from tests.small_models import convolution, pooling

BOARD = mcusim.load_board("nucleo-l496zg")
#: Networks of float32 activations and int8 weights, which TFLM itself refuses.
HYBRID = {"01a_LeNet-MNIST_Q-mixed", "kws_ref_model_float32"}
NETWORKS = [path for path in shared_models() if path.stem not in HYBRID]


def counted(model: str) -> dict[str, dict[str, str]]:
    """Counted runs of a whole network with the reference kernels, by flag."""
    with (SHARED / "counted" / "tflm_models.csv").open(newline="") as file:
        return {
            row["opt"]: row
            for row in csv.DictReader(file)
            if (row["model"], row["lib"], row["kernels"]) == (model, "tflm_2026", "ref")
        }


@needs_shared
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_a_network_executes_what_was_counted(path):
    """Instructions of Invoke within 1 %, and the arena to the byte."""
    graph = mcusim.load_model(path)
    for flag, row in counted(path.stem).items():
        found = mcusim.estimate(graph, BOARD, build=f"gcc-{flag}")
        assert found.instructions.total == pytest.approx(float(row["invoke_instr"]), rel=0.01), flag
        assert found.arena_bytes == int(row["arena_used_bytes"])


@needs_shared
@pytest.mark.parametrize("name", sorted(HYBRID))
def test_what_the_runtime_refuses_is_not_estimated(name):
    path = next(path for path in shared_models() if path.stem == name)
    with pytest.raises(mcusim.UnsupportedOperatorError) as caught:
        mcusim.estimate(mcusim.load_model(path), BOARD)
    assert str(caught.value).startswith(f"{path.name}: operator ")
    assert "int8" in str(caught.value)


@needs_shared
@pytest.mark.parametrize("path", NETWORKS[::3], ids=lambda path: path.stem)
def test_the_dictionary_follows_its_schema(path):
    found = mcusim.estimate(mcusim.load_model(path), BOARD)
    jsonschema.validate(found.to_dict(), estimate_schema())


@needs_shared
def test_a_large_network_is_estimated_in_milliseconds():
    """50 ms is the promise, held by the benchmarks; here only that it is no slower by an order."""
    graph = mcusim.load_model(SHARED / "models" / "mlperf_tiny" / "vww_96_int8.tflite")
    mcusim.estimate(graph, BOARD)
    start = time.perf_counter()
    mcusim.estimate(graph, BOARD)
    assert time.perf_counter() - start < 0.5


def test_totals_are_sums_over_layers_and_the_interpreter():
    found = mcusim.estimate(convolution(), BOARD)
    parts = (*found.layers, found.invoke)
    assert found.cycles == pytest.approx(sum(part.cycles for part in parts))
    assert found.latency_s == pytest.approx(found.cycles / 80e6)
    assert found.energy_j == pytest.approx(sum(part.energy_j for part in parts))
    assert found.macs == 12 * 12 * 16 * 9 * 16
    low, high = found.latency_interval_s
    assert low < found.latency_s < high
    assert found.construct.cycles > 0
    assert found.allocate.cycles > found.construct.cycles
    jsonschema.validate(found.to_dict(), estimate_schema())


def test_memory_is_the_sum_of_its_parts():
    found = mcusim.estimate(convolution(), BOARD)
    assert found.flash_bytes == sum(part.size_bytes for part in found.flash)
    assert {"model", "TFLite Micro", "kernel of CONV_2D"} <= {part.name for part in found.flash}
    assert all(part.source for part in found.flash)
    assert found.ram_bytes > found.arena_bytes


@pytest.mark.parametrize(
    "core", [path.stem for path in data_path("board_models", "cores").iterdir()]
)
@pytest.mark.parametrize("runtime", ["tflm", "cmsis-nn"])
def test_every_core_is_estimated_under_every_build(tmp_path, core, runtime):
    path = tmp_path / "board.toml"
    path.write_text(f'base = "nucleo-l496zg"\ncore = "{core}"\n')
    board = mcusim.load_board(path)
    for build in estimator.BUILDS:
        for fpu in (None, False):
            found = mcusim.estimate(convolution(), board, runtime, build, fpu=fpu)
            assert found.flash_bytes > 20_000
            assert found.layers[0].is_priced or runtime == "cmsis-nn"


def test_power_is_supply_voltage_times_current():
    found = mcusim.estimate(convolution(), BOARD)
    power = BOARD.power
    watts = power.supply_v * power.active_a_per_hz * 80e6
    assert found.energy_j == pytest.approx(found.latency_s * watts)


def test_a_slower_clock_waits_less_for_flash():
    graph = convolution()
    fast, slow = (mcusim.estimate(graph, BOARD, clock_hz=hz) for hz in (80e6, 16e6))
    assert slow.cycles < fast.cycles
    assert slow.latency_s > fast.latency_s
    assert slow.layers[0].cycles_by_cause.data == 0


def test_weights_and_code_in_ram_do_not_wait():
    graph = convolution()
    found = mcusim.estimate(graph, BOARD, placement={"weights": "ram", "code": "ram"})
    assert found.layers[0].cycles_by_cause.data == found.layers[0].cycles_by_cause.fetch == 0
    assert found.layers[0].cycles_by_cause.core == pytest.approx(
        mcusim.estimate(graph, BOARD).layers[0].cycles_by_cause.core
    )


def test_floats_without_fpu_take_several_times_as_long():
    """Heim et al. measured 3.6 times on a LeNet-5 in float32 on this board."""
    graph = convolution(DType.FLOAT32)
    with_fpu = mcusim.estimate(graph, BOARD)
    without = mcusim.estimate(graph, BOARD, fpu=False)
    assert 3 < without.cycles / with_fpu.cycles < 12
    assert without.instructions["float_mac"] == 0
    assert without.board.core.name == "cortex-m4-soft"
    assert mcusim.estimate(graph, without.board, fpu=False).cycles == without.cycles


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"clock_hz": 1e9}, "nucleo-l496zg runs at 0.1 to 80 MHz, not at 1000 MHz"),
        ({"build": "gcc-O33"}, "there is no build 'gcc-O33'; did you mean 'gcc-O3'?"),
        ({"build": "icc"}, "there is no build 'icc'; there are gcc-O3"),
        ({"runtime": "tvm"}, "runtime 'tvm' is not known"),
        ({"placement": {"wieghts": "ram"}}, "did you mean 'weights'"),
        ({"placement": {"weights": "tape"}}, "weights lies in flash or ram, not in 'tape'"),
    ],
)
def test_wrong_settings_are_told(settings, sentence):
    with pytest.raises(mcusim.InputError) as caught:
        mcusim.estimate(pooling(), BOARD, **settings)
    assert sentence in str(caught.value)


def test_a_core_without_fpu_cannot_use_one():
    soft = mcusim.estimate(pooling(), BOARD, fpu=False).board
    with pytest.raises(mcusim.InputError, match="no floating-point unit"):
        mcusim.estimate(pooling(), soft, fpu=True)


def test_an_uncalibrated_board_says_so():
    board = mcusim.load_board("nucleo-f429zi")
    warning = mcusim.estimate(pooling(), board).warnings[0]
    assert warning.startswith("uncalibrated board")
    found = board.core.uncalibrated
    assert f"{found.measured_over_predicted_high:.3g} times the prediction" in warning


def test_a_build_that_was_not_counted_is_priced_by_the_closest_and_flagged():
    exact = mcusim.estimate(convolution(), BOARD)
    close = mcusim.estimate(convolution(), BOARD, build="gcc-Ofast")
    assert exact.layers[0].is_exact
    assert not close.layers[0].is_exact
    assert any("counted as m4.gcc-O3" in warning for warning in close.warnings)
    width = [e.latency_interval_s[1] / e.latency_s for e in (exact, close)]
    assert width[1] > width[0]


def test_what_nothing_prices_is_never_silently_zero(monkeypatch):
    def without_pooling(name, core, build):
        return None if "pool" in name else closest_profile(name, core, build)

    monkeypatch.setattr(pricing, "closest_profile", without_pooling)
    found = mcusim.estimate(pooling(), BOARD)
    assert not found.layers[0].is_priced
    assert any("missing from the totals" in warning for warning in found.warnings)


def test_estimating_imports_no_numba():
    code = (
        "import sys, mcusim\n"
        "from tests.small_models import convolution\n"
        "board = mcusim.load_board('nucleo-l496zg')\n"
        "mcusim.estimate(convolution(), board).to_dict()\n"
        "assert 'numba' not in sys.modules\n"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_a_layer_of_which_one_call_has_no_cost_has_none(monkeypatch):
    """A part of a layer's time never stands in the totals as if it were the whole of it."""
    graph = convolution()
    whole = mcusim.estimate(graph, BOARD, "cmsis-nn").layers[0]
    assert whole.is_priced

    def without_glue(profile, core, build):
        return None if "glue" in profile else closest_profile(profile, core, build)

    monkeypatch.setattr(pricing, "closest_profile", without_glue)
    found = mcusim.estimate(graph, BOARD, "cmsis-nn").layers[0]
    assert not found.is_priced
    assert found.cycles == 0
    assert any("no profile" in warning for warning in found.warnings)


def test_what_is_placed_in_ram_takes_ram():
    graph, board = mcusim.load_model("ds-cnn"), mcusim.load_board("nucleo-l4r5zi")
    plain = mcusim.estimate(graph, board)
    moved = mcusim.estimate(graph, board, placement={"weights": "ram"})
    model = next(part.size_bytes for part in plain.flash if part.name == "model")
    assert moved.ram_bytes == plain.ram_bytes + model
    assert moved.arena_bytes == plain.arena_bytes
