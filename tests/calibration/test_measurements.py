"""CSV files of measured runs: what is read, and what is told of a wrong one."""

import hashlib

import pytest

from mcusim.calibration.measurements import read_measurements
from mcusim.errors import InputError


def write(folder, text):
    path = folder / "runs.csv"
    path.write_text(text)
    return path


def test_rows_are_read_in_seconds_joules_and_hertz(tmp_path):
    text = (
        "model,runtime,build,clock_hz,latency_ms,energy_mj,layer,note\n"
        'ds-cnn,cmsis-nn,gcc-Os,8e7,949.3,22.8,,"a, b"\n'
        "nets/kws.tflite,,,,12,,3,\n"
    )
    file = read_measurements(write(tmp_path, text))
    assert file.name == "runs.csv"
    assert file.sha256 == hashlib.sha256(text.encode()).hexdigest()
    first, second = file.rows
    assert (first.line, first.model, first.runtime, first.build) == (
        2,
        "ds-cnn",
        "cmsis-nn",
        "gcc-Os",
    )
    assert (first.latency_s, first.energy_j) == pytest.approx((0.9493, 0.0228))
    assert (first.clock_hz, first.note) == (80_000_000, "a, b")
    assert second.model == str(tmp_path / "nets" / "kws.tflite")
    assert (second.runtime, second.clock_hz, second.energy_j, second.layer) == (None, None, None, 3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: column model is missing"),
        ("model\n", "line 1: column latency_s or latency_ms is missing"),
        ("model,latency_ms,latency_ms\n", "line 1: column latency_ms stands twice"),
        ("model,latencyms\n", "line 1: 'latencyms' is not a column; did you mean latency_ms"),
        ("model,latency_s\n", "holds no measured run"),
        ("model,latency_s\nds-cnn,fast\n", "line 2, column latency_s: 'fast' is not a number"),
        ("model,latency_s\nds-cnn,-1\n", "line 2, column latency_s: '-1' is not a number above 0"),
        ("model,latency_s\nds-cnn,nan\n", "line 2, column latency_s: 'nan' is not a number"),
        ("model,latency_s\nds-cnn,\n", "line 2: latency_s or latency_ms must be given"),
        ("model,latency_s\n,1\n", "line 2, column model: is empty"),
        ("model,latency_s\nds-cnn\n", "line 2: does not have as many cells as line 1"),
        ("model,latency_s\nds-cnn,1,2\n", "line 2: does not have as many cells as line 1"),
        ("model,latency_s,latency_ms\nds-cnn,1,1\n", "line 2: has both latency_s and latency_ms"),
        ("model,latency_s,layer\nds-cnn,1,x\n", "line 2, column layer: 'x' is not the index"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(tmp_path, text, sentence):
    with pytest.raises(InputError, match=r"runs\.csv") as caught:
        read_measurements(write(tmp_path, text))
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_measurements(tmp_path / "none.csv")
