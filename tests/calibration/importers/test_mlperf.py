"""Results of MLPerf Tiny, in the layout that its two runners write; the numbers are made up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.calibration.importers import Format, format_of, read_results, read_results_json
from mcusim.calibration.measurements import RecordedWith, read_measurements
from mcusim.errors import InputError

EEMBC_PERFORMANCE = """\
00112.406 ulp-mlperf: Performance results for window 2:
00112.407 ulp-mlperf:   # Inferences :          200
00112.407 ulp-mlperf:   Runtime      :       12.000 sec.
00112.407 ulp-mlperf:   Throughput   :       16.667 inf./sec.
00112.407 ulp-mlperf: Runtime requirements have been met.
00112.407 ulp-mlperf: Performance results for window 4:
00112.407 ulp-mlperf:   # Inferences :          200
00112.407 ulp-mlperf:   Runtime      :       12.200 sec.
00112.407 ulp-mlperf:   Throughput   :       16.393 inf./sec.
00112.418 ulp-mlperf: ---------------------------------------------------------
00112.418 ulp-mlperf: Median throughput is  16.530 inf./sec.
"""
EEMBC_ENERGY = """\
00155.379 ulp-ml: Energy data for window 2 at time 2.78 for 12.00 sec.:
00155.379 ulp-ml:   Energy       :   400000.000 uJ
00155.379 ulp-ml:   Power        :    33333.333 uW
00155.379 ulp-ml:   Energy/Inf.  :     2000.000 uJ/inf.
00155.399 ulp-ml: Median energy cost is 2000.000 uJ/inf.
00155.399 ulp-ml: Performance results for window 2:
00155.399 ulp-ml:   # Inferences :          200
00155.399 ulp-ml:   Runtime      :       12.000 sec.
00155.399 ulp-ml:   Throughput   :       16.667 inf./sec.
"""
EEMBC_LOG = """\
00068.880 session: m-session-start-id[20260101000000]
00068.890 dut: m-model-[kws01]
00068.895 dut: m-lap-us-7655704
00069.042 parser: Command "dut infer 100 1"
00069.123 dut: m-infer-start-100
00069.125 dut: m-lap-us-1000000
00080.342 dut: m-lap-us-7000000
00080.344 dut: m-infer-done
"""
RUNNER_ENERGY = """\
Power Edition Output
Energy data for trial 0
  Elapsed time  : 10.800000000000001
  Inferences    : 180
  Power         : 33.3333 mW.
  Total Energy  : 360000.000 uJ
  Energy/Inf    : 2000.000 uJ/inf
---------------------------------------------------------
Median energy cost is 2000.0000 uJ/inf.
"""
ACCURACY = "00026.100 ulp-mlperf: Top-1: 90.2%\n00026.100 ulp-mlperf: AUC: 0.99\n"


def window(mode, outputs=12, **more):
    infer = {"results": [0.0] * outputs, "total_inferences": 1, "iterations": 180, "warmups": 1}
    if mode != "e":
        infer |= {"start_time": 5, "end_time": 10_800_005, "elapsed_time": 10_800_000}
    return {"file": "x.bin", "classes": outputs, "infer": infer | more, "mode": mode}


def energy_window():
    samples = [1e-5] * 100 + [2e-5] * 18_000 + [1e-5] * 50
    power = {"samples": samples, "timestamps": [["00", 3], ["01", 100], ["02", 18_100]]}
    return window("e") | {"power": power | {"extracted_power": None, "voltage": 3}}


@pytest.mark.parametrize(
    ("text", "latency_s", "energy_j", "network"),
    [
        (EEMBC_PERFORMANCE, 0.0605, None, ""),
        (EEMBC_ENERGY, 0.06, 2e-3, ""),
        (EEMBC_LOG, 0.06, None, "ds-cnn"),
        (RUNNER_ENERGY, 0.06, 2e-3, ""),
    ],
)
def test_text_of_each_runner(tmp_path, text, latency_s, energy_j, network):
    path = tmp_path / "results.txt"
    path.write_text(text)
    assert format_of(path) is Format.RESULTS
    found = read_results(path)
    assert found.latency_s == pytest.approx(latency_s)
    assert found.energy_j == (None if energy_j is None else pytest.approx(energy_j))
    assert found.network == network


def test_folders_of_a_submission_tell_the_network(tmp_path):
    place = tmp_path / "vww" / "performance"
    place.mkdir(parents=True)
    (place / "results.txt").write_text(EEMBC_PERFORMANCE)
    assert read_results(place / "results.txt").network == "mobilenet-v1-0.25"


@pytest.mark.parametrize(
    ("outputs", "network"),
    [(12, "ds-cnn"), (10, "resnet-8"), (2, "mobilenet-v1-0.25"), (1, "ad-autoencoder")],
)
def test_json_of_performance_mode(tmp_path, outputs, network):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([window("p", outputs)] * 5 + [{"error": "error 1"}]))
    assert format_of(path) is Format.RESULTS_JSON
    found = read_results_json(path)
    assert (found.network, found.windows) == (network, 5)
    assert found.latency_s == pytest.approx(0.06)


def test_json_of_energy_mode_sums_the_samples_between_the_last_two_edges(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([energy_window()]))
    found = read_results_json(path)
    assert found.latency_s == pytest.approx(18_000 / 1000 / 180)
    assert found.energy_j == pytest.approx(18_000 * 2e-5 / 180)
    assert found.supply_v == 3.0


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("results.txt", ACCURACY, "holds no times of inferences: take the results of performance"),
        ("results.json", json.dumps([window("a", iterations=1)]), "holds no times of inferences"),
        ("results.json", json.dumps([window("p") | {"wav_file": "x"}]), "streaming wake word"),
        ("results.json", "[]", "is no results.json of MLPerf Tiny"),
        ("results.json", '[{"infer": {"iterations": "many"}}]', "is no results.json of MLPerf"),
        ("results.json", "[" * 100_000, "is not JSON"),
        ("results.json", '{"a":', "is not JSON"),
        ("results.txt", EEMBC_PERFORMANCE, "does not tell the network; name it with --model"),
    ],
)
def test_what_tells_no_time_is_refused(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_measurements(tmp_path / name)


def test_a_submission_is_read_as_a_whole(tmp_path):
    for network in ("kws", "ic"):
        for mode, text in (
            ("performance", EEMBC_PERFORMANCE),
            ("energy", EEMBC_ENERGY),
            ("accuracy", ACCURACY),
        ):
            (tmp_path / network / mode).mkdir(parents=True)
            (tmp_path / network / mode / "results.txt").write_text(text)
    (tmp_path / "ad" / "performance").mkdir(parents=True)
    (tmp_path / "ad" / "performance" / "results.txt").write_text(ACCURACY)
    (tmp_path / "kws" / "energy" / "results.json").write_text(json.dumps([energy_window()]))
    found = read_measurements(tmp_path, RecordedWith(clock_hz=80e6))
    assert [(row.model, row.energy_j is None) for row in found.rows] == [
        ("resnet-8", True),
        ("ds-cnn", True),
        ("resnet-8", False),
        ("ds-cnn", False),
    ]
    assert found.rows[3].supply_v == 3.0
    assert {row.clock_hz for row in found.rows} == {80e6}
    assert found.notes[0].startswith(
        "ad/performance/results.txt is left out: results.txt: holds no"
    )


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results of MLPerf Tiny"):
        read_measurements(tmp_path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["infer", "power", "samples", "timestamps", "iterations", "elapsed_time", "results"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_JSON)
def test_any_json_is_read_or_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "results.json"
    path.write_text(json.dumps([{"infer": content, "power": content}, content]))
    try:
        read_results_json(path)
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=80, deadline=None)
@given(
    st.text(
        st.sampled_from("0123456789.:# \nInferencesRuntime secEnergy/uJm-lap-us-"), max_size=200
    )
)
def test_any_text_is_read_or_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("txt") / "results.txt"
    path.write_text(EEMBC_LOG[:120] + content)
    try:
        read_results(path)
    except InputError as error:
        assert "\n" not in str(error)
