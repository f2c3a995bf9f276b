"""CSV files of measured runs: what is read, and what is told of a wrong one."""

import hashlib

import pytest

from mcusim.calibration.measurements import RecordedWith, read_measurements
from mcusim.errors import InputError
from tests.calibration.importers.traces import Trace, write_csv, write_ppk2


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
        ("", "is empty"),
        ("name,latency\n", "line 1: 'name' is not a column"),
        ("model\n", "line 1: column latency_s or latency_ms is missing"),
        ("model,latency_ms,latency_ms\n", "line 1: column latency_ms stands twice"),
        ("model,energy_mj\n", "an energy tells a current only beside its time"),
        ("model,latency_us\n", "did you mean latency_s or latency_ms?"),
        (
            "model,latency_ms,supply_v\nlenet-5,1,3300\n",
            "column supply_v: 3300 V supplies no board",
        ),
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


def test_a_recording_is_one_run_of_the_network_that_is_named(tmp_path):
    path = write_csv(tmp_path / "trace.csv", Trace())
    found = read_measurements(path, RecordedWith("ds-cnn", 80e6, 3.0))
    [row] = found.rows
    assert (row.model, row.clock_hz, row.supply_v) == ("ds-cnn", 80e6, 3.0)
    assert row.latency_s == pytest.approx(4e-3)
    assert row.energy_j == pytest.approx(8e-3 * 4e-3 * 3.0, rel=5e-3)
    assert row.idle_a == pytest.approx(1e-3, rel=5e-3)
    assert found.notes[0].startswith("trace.csv: 5 windows by pin gpio: 4 ms an inference")
    with pytest.raises(InputError, match="is a table of time and current; name the"):
        read_measurements(path)


def test_a_table_names_recordings_beside_it(tmp_path):
    write_csv(tmp_path / "fast.csv", Trace())
    write_ppk2(tmp_path / "slow.ppk2", Trace(high_s=8e-3))
    path = write(
        tmp_path,
        "model,latency_ms,energy_mj,supply_v,trace,inferences\n"
        "ds-cnn,,,1.8,fast.csv,\nresnet-8,,,,slow.ppk2,2\nds-cnn,5,,,,\n",
    )
    found = read_measurements(path, RecordedWith(supply_v=3.3))
    assert [row.latency_s for row in found.rows] == pytest.approx([4e-3, 4e-3, 5e-3])
    assert [row.supply_v for row in found.rows] == [1.8, 3.3, None]
    assert found.rows[0].energy_j == pytest.approx(8e-3 * 4e-3 * 1.8, rel=5e-3)
    assert [note.split(":")[0] for note in found.notes] == ["fast.csv", "slow.ppk2"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("ds-cnn,1,fast.csv,1", "line 2: has a trace beside a time or an energy"),
        ("ds-cnn,,none.csv,1", "line 2: .*none.csv: cannot be read"),
        ("ds-cnn,,fast.csv,0", "line 2, column inferences: '0' is not how many"),
        ("ds-cnn,,fast.csv,x", "line 2, column inferences: 'x' is not how many"),
        ("ds-cnn,,runs.csv,1", "line 2: runs.csv: is a table of measured runs, not a recording"),
    ],
)
def test_a_recording_that_cannot_be_read_is_named_with_its_line(tmp_path, row, sentence):
    write_csv(tmp_path / "fast.csv", Trace())
    path = write(tmp_path, f"model,latency_ms,trace,inferences\n{row}\n")
    with pytest.raises(InputError, match=sentence):
        read_measurements(path)


def test_a_clock_of_the_command_is_that_of_rows_that_name_none(tmp_path):
    """It was for recordings alone, and a table went on with the board's own."""
    path = tmp_path / "runs.csv"
    path.write_text("model,latency_ms,clock_hz\nds-cnn,1,\nds-cnn,1,16000000\n")
    first, second = read_measurements(path, RecordedWith(clock_hz=48e6)).rows
    assert (first.clock_hz, second.clock_hz) == (48e6, 16e6)
