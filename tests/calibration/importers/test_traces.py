"""Recordings of current over time: what is read of them, and what is refused."""

import gzip
import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.calibration.importers import Recording, Samples, open_trace, traced_run
from mcusim.errors import InputError
from tests.calibration.importers.traces import (
    Trace,
    write_csv,
    write_jls,
    write_ppk2,
    write_ppk2_export,
    write_rld,
)

SLOW = Trace(high_s=0.04, low_s=0.06, rate_hz=1000.0)


def measured(path, **options):
    return traced_run(open_trace(path), **options)


def write_rld_if_read(path, trace):
    pytest.importorskip("rocketlogger")
    return write_rld(path, trace)


@pytest.mark.parametrize(
    ("name", "write", "trace", "supply_v"),
    [
        ("run.csv", write_csv, Trace(), None),
        ("ppk.csv", write_ppk2_export, Trace(), None),
        ("run.ppk2", write_ppk2, Trace(), None),
        ("run.jls", write_jls, Trace(), 3.0),
        ("run.rld", write_rld_if_read, SLOW, 3.0),
    ],
)
def test_each_instrument_tells_time_charge_and_idle_current(tmp_path, name, write, trace, supply_v):
    found = measured(write(tmp_path / name, trace))
    assert found.latency_s == pytest.approx(trace.high_s, rel=1e-9)
    assert found.windows == 5
    assert found.active_a == pytest.approx(trace.active_a, rel=5e-3)
    assert found.idle_a == pytest.approx(trace.idle_a, rel=5e-3)
    assert found.idle_before_a == pytest.approx(trace.idle_a, rel=5e-3)
    if supply_v is None:
        assert found.energy_j is None
    else:
        assert found.energy_j == pytest.approx(found.charge_c * supply_v, rel=1e-6)
        assert found.supply_v == pytest.approx(supply_v)


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("Time (ms);Current (mA);GPIO", None),
        ("time_us\tcurrent_ua\td0", None),
        ("# made by hand\n\nt_s, i_a ,trigger", "{:.7f}, {:.9g}, {:d}"),
        ("timestamp[s],current[A],pin", "{:.7f},{:.9g},{:d}.0"),
        ('"Time (s)","Main current (A)","GPI1"', '"{:.7f}","{:.9g}",{:d}'),
    ],
)
def test_units_and_delimiters_are_taken_from_the_header(tmp_path, header, form):
    trace, path = Trace(), tmp_path / "run.csv"
    if form is None:
        write_csv(path, trace, header)
        by_time = 1e3 if "(ms)" in header else 1e6
        sign = "\t" if "\t" in header else ";"
        rows = zip(trace.time_s, trace.current_a * by_time, trace.pin, strict=True)
        lines = [f"{t * by_time:.4f}{sign}{i:.6f}{sign}{pin:d}" for t, i, pin in rows]
        # With a comma for the decimal point, as where commas cannot part the cells.
        path.write_text("\n".join([header, *lines]).replace(".", ","))
    else:
        write_csv(path, trace, header, form)
    found = measured(path)
    assert found.latency_s == pytest.approx(4e-3, rel=1e-6)
    assert found.active_a == pytest.approx(8e-3, rel=5e-3)


def test_pins_of_older_exports_of_the_power_profiler_are_bits(tmp_path):
    path, trace = tmp_path / "ppk.csv", Trace()
    rows = zip(trace.time_s, trace.current_a, trace.pin, strict=True)
    lines = [f"{t * 1e3:.2f},{i * 1e6:.3f},00000{pin:d}00" for t, i, pin in rows]
    path.write_text("\n".join(["Timestamp(ms),Current(uA),Bits", *lines]))
    assert measured(path).shown_by == "pin D2"


def test_a_recorded_voltage_makes_energy(tmp_path):
    path, trace = tmp_path / "run.csv", Trace()
    rows = zip(trace.time_s, trace.current_a, trace.pin, strict=True)
    lines = [f"{t:.7f},{i:.9g},{1800 if i > 4e-3 else 1900},{pin:d}" for t, i, pin in rows]
    path.write_text("\n".join(["time_s,current_a,vdd_mv,gpio", *lines]))
    found = measured(path)
    assert found.energy_j == pytest.approx(8e-3 * 1.8 * 4e-3, rel=5e-3)


def test_several_inferences_in_each_window(tmp_path):
    found = measured(write_csv(tmp_path / "run.csv", Trace()), inferences=10)
    assert found.latency_s == pytest.approx(0.4e-3)
    assert found.active_a == pytest.approx(8e-3, rel=5e-3)


def test_windows_cut_off_by_the_recording_do_not_count(tmp_path):
    trace = Trace(low_s=2e-3)
    path = write_csv(tmp_path / "run.csv", trace)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines[300:-300]]))  # starts and ends in a window
    found = measured(path)
    assert found.windows == 3
    assert found.idle_before_a is None
    assert found.idle_after_a is None


def test_a_window_with_a_gap_is_left_out(tmp_path):
    path = write_csv(tmp_path / "run.csv", Trace())
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines[:700], *lines[800:]]))
    found = measured(path)
    assert (found.windows, found.left_out) == (4, 1)
    assert found.latency_s == pytest.approx(4e-3)


def test_a_pulse_of_start_up_is_no_inference(tmp_path):
    path = write_csv(tmp_path / "run.csv", Trace())
    lines = path.read_text().splitlines()
    lines[100] = lines[100][:-1] + "1"
    path.write_text("\n".join(lines))
    found = measured(path)
    assert (found.windows, found.left_out) == (5, 1)
    assert found.latency_s == pytest.approx(4e-3)
    assert "far too short, left out" in found.described()


def test_a_pin_that_is_low_while_the_network_runs_is_told(tmp_path):
    path = write_csv(tmp_path / "run.csv", Trace(active_a=1e-3, idle_a=8e-3))
    with pytest.raises(InputError, match="less current flows while pin gpio is high"):
        measured(path)


def test_samples_that_joulescope_lost_are_a_gap(tmp_path):
    samples = Trace()
    current = samples.current_a
    current[800] = np.nan
    piece = Samples(samples.time_s, current, None, {"gpi[0]": samples.pin})
    found = traced_run(Recording("run.jls", lambda: iter([piece])))
    assert (found.windows, found.left_out) == (4, 1)


def test_without_a_pin_two_levels_of_current_tell_the_windows(tmp_path):
    path = write_csv(tmp_path / "run.csv", Trace(), "time_s,current_a", "{:.7f},{:.9g}")
    found = measured(path)
    assert found.shown_by.startswith("current above")
    assert found.latency_s == pytest.approx(4e-3, rel=1e-3)


@pytest.mark.parametrize(
    "trace", [Trace(active_a=1.2e-3), Trace(noise=0.5), Trace(windows=2), Trace(active_a=1e-3)]
)
def test_without_a_pin_and_without_two_levels_it_is_refused(tmp_path, trace):
    path = write_csv(tmp_path / "run.csv", trace, "time_s,current_a", "{:.7f},{:.9g}")
    with pytest.raises(InputError, match=r"run\.csv: it has no pin, and the current does not show"):
        measured(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("time_s,current_a,gpio\n", "run.csv: holds no samples"),
        ("time_s,current_a,gpio", "run.csv: holds no samples"),
        ("time_s,current_a,gpio\n0,1,0\n1,nan,0\n", "line 3, column current_a: 'nan' is not a"),
        ("time_s,current_a,gpio\n0,1,0\n\n1,x,0\n", "line 4, column current_a: 'x' is not a"),
        ("time_s,current_a,gpio\n0,1,0\n1,inf,0\n", "line 3, column current_a: 'inf' is not a"),
        ("time_s,current_a,gpio\n0,1,0\n2,1,0\n1,1,0\n", "line 4: time goes back to 1 s"),
        ("time_s,current_a,gpio\n0,1,0\n1,1\n", "line 3: has 2 cells under 3 columns"),
        ("time_s,current_a,gpio\n0,1,0\n1,1,2\n", "'2' in column gpio is neither 0 nor 1"),
        ("time,current_a\n0,1\n", "line 1: column 'time' has no unit; write time_s"),
        ("time_s,current\n0,1\n", "line 1: column 'current' has no unit; write current_a"),
        ("time_s,gpio\n0,1\n", "line 1: no column of current with its unit"),
        ("time_s,i1_a,i2_a\n0,1,1\n", "'i1_a' and 'i2_a' are columns of current; name one with"),
        ("time_s,current_a,gpio\n0,1,0\n1,1,0\n", "pin gpio never changes"),
        ("time_s,current_a,d0,d1\n0,1,0,1\n1,1,1,0\n2,1,0,1\n", "pins d0, d1 change; name the"),
        ("time_s,current_a,gpio\n0,1,0\n1,1,1\n2,1,0\n", "high for 1 samples only; sample faster"),
        ("time_s,current_a,D0-D99\n0,1,0\n", "'D0-D99' is no range of pins"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "run.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^run\.csv") as caught:
        measured(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_windows_of_two_networks_on_one_pin_are_refused(tmp_path):
    path, trace = tmp_path / "run.csv", Trace()
    short, long = trace.pin, Trace(high_s=12e-3).pin
    pin = np.concatenate([short, long])
    lines = [f"{i * 1e-5:.6f},0.001,{level:d}" for i, level in enumerate(pin)]
    path.write_text("\n".join(["time_s,current_a,gpio", *lines]))
    with pytest.raises(InputError, match="4 to 12 ms; record one network at a time"):
        measured(path)


def test_a_pin_can_be_named(tmp_path):
    path, trace = tmp_path / "run.csv", Trace()
    rows = zip(trace.time_s, trace.current_a, trace.pin, strict=True)
    lines = [f"{t:.7f},{i:.9g},{n % 7 // 4},{pin:d}" for n, (t, i, pin) in enumerate(rows)]
    path.write_text("\n".join(["time_s,current_a,uart_tx,d0,d1"[:27], *lines]))
    assert measured(path, pin="d0").latency_s == pytest.approx(4e-3)
    with pytest.raises(InputError, match="has no pin 'd7'; it has"):
        measured(path, pin="d7")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("run.csv", b"", "run.csv: is empty"),
        (
            "run.csv.gz",
            gzip.compress(b"time_s,current_a\n", mtime=0),
            "is compressed with gzip; unpack",
        ),
        ("run.csv", b"\xff\xfet\x00", "is text in UTF-16; save it as UTF-8"),
        ("run.ppk2", b"PK\x03\x04broken", "run.ppk2: is a damaged .ppk2 file"),
        ("run.jls", b"jlsfmt", "run.jls: is no .jls file of version 2"),
        ("run.csv", b"model,latency_s\n", "is a table of measured runs, not a recording"),
    ],
)
def test_a_file_that_is_no_recording_is_one_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        measured(path)
    assert sentence in str(caught.value)


def test_a_session_without_a_rate_is_refused(tmp_path):
    path = tmp_path / "run.ppk2"
    for metadata in ("{}", "[]", "no", json.dumps({"metadata": {"samplesPerSecond": 0}})):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("session.raw", b"")
            archive.writestr("metadata.json", metadata)
        with pytest.raises(InputError, match="samples a second"):
            measured(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_recording_of_joulescope_that_is_cut_short_is_refused_and_left_as_it_is(tmp_path, share):
    path = write_jls(tmp_path / "run.jls", Trace())
    whole = path.read_bytes()
    cut = whole[: int(len(whole) * share)]
    path.write_bytes(cut)
    with pytest.raises(InputError, match=r"run\.jls: is cut short, or was not closed"):
        measured(path)
    assert path.read_bytes() == cut


def test_signals_of_joulescope_that_start_apart_are_put_beside_each_other(tmp_path):
    import pyjls

    trace, path = Trace(), tmp_path / "run.jls"
    with pyjls.Writer(str(path)) as writer:
        writer.source_def(1, "JS220", "Jetperch", "JS220", "1", "000001")
        writer.signal_def(1, 1, sample_rate=100_000, name="current", units="A")
        writer.signal_def(2, 1, sample_rate=50_000, name="gpi[1]", data_type=pyjls.DataType.U1)
        writer.fsr(1, 900, trace.current_a[900:].astype(np.float32))
        writer.fsr(2, 200, np.packbits(trace.pin[400::2], bitorder="little"))
    found = measured(path)
    assert found.active_a == pytest.approx(trace.active_a, rel=5e-3)
    assert found.idle_a == pytest.approx(trace.idle_a, rel=1e-2)


@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1))
def test_a_damaged_recording_of_joulescope_is_one_sentence(tmp_path_factory, places):
    path = write_jls(tmp_path_factory.mktemp("jls") / "run.jls", Trace(windows=1))
    content = bytearray(path.read_bytes())
    for place, change in places:
        content[place % len(content)] ^= change
    path.write_bytes(content)
    try:
        measured(path)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "write"), [("run.rld", write_rld_if_read), ("run.ppk2", write_ppk2)]
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_recording_that_is_cut_short_is_refused(tmp_path, name, write, share):
    path = write(tmp_path / name, SLOW)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"{name}: is a damaged"):
        measured(path)


def test_a_session_whose_middle_is_missing_is_refused(tmp_path):
    """The archive's directory then leads before its start."""
    path = write_ppk2(tmp_path / "run.ppk2", SLOW)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3] + content[len(content) // 3 + 200 :])
    with pytest.raises(InputError, match=r"run\.ppk2: is a damaged"):
        measured(path)


def test_a_scale_that_overflows_is_told_as_damage(tmp_path):
    """RocketLogger's package reads such a header, and fails where values are asked for."""
    path = write_rld_if_read(tmp_path / "run.rld", SLOW)
    content = path.read_bytes()
    pin = content.index(b"DI1") - 8  # the scale of the pin
    path.write_bytes(content[:pin] + struct.pack("<i", 1000) + content[pin + 4 :])
    with pytest.raises(InputError, match=r"run\.rld: is a damaged"):
        measured(path)


@pytest.mark.parametrize(
    ("module", "name", "content"),
    [("pyjls", "run.jls", b"jlsfmt"), ("rocketlogger.data", "run.rld", b"%RLD")],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, module, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'mcusim\[import\]'"):
        measured(path)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("01.,;\t\n -eEnaif\"'xµ"), max_size=120),
    header=st.sampled_from(["time_s,current_a,gpio\n", "time_s;current_a;gpio\n", ""]),
)
def test_any_text_is_read_or_refused_in_one_sentence(tmp_path_factory, text, header):
    path = tmp_path_factory.mktemp("csv") / "run.csv"
    path.write_text(header + text, encoding="utf-8")
    try:
        measured(path)
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=30, deadline=None)
@given(
    windows=st.integers(1, 6),
    high=st.integers(12, 80),
    low=st.integers(12, 80),
    active_ma=st.floats(0.1, 100),
    pieces=st.integers(1, 50),
)
def test_pieces_of_any_length_give_what_the_whole_gives(windows, high, low, active_ma, pieces):
    trace = Trace(windows, high * 1e-3, low * 1e-3, 1e3, active_ma * 1e-3, 5e-5, 0.1)

    def samples():
        for part in np.array_split(np.arange(trace.time_s.size), pieces):
            yield Samples(trace.time_s[part], trace.current_a[part], None, {"d": trace.pin[part]})

    found = traced_run(Recording("x", samples))
    current, pin = trace.current_a, trace.pin
    assert found.windows == windows
    assert found.latency_s == pytest.approx(high * 1e-3)
    # Samples that each stand for a step of time, within half of what two neighbours differ by.
    assert found.active_a == pytest.approx(current[pin].mean(), rel=0.1)


def test_a_long_recording_is_read_in_pieces(tmp_path):
    """100 MB of text, in a process of its own that may not grow by half of that."""
    path, trace = tmp_path / "run.csv", Trace(windows=400)
    header, *lines = write_csv(path, trace).read_text().splitlines()
    with path.open("w") as file:
        file.write(header + "\n")
        for repeat in range(8):
            start = repeat * trace.time_s.size * 1e-5
            rows = (f"{start + i * 1e-5:.7f}" + line[9:] for i, line in enumerate(lines))
            file.write("\n".join(rows) + "\n")
    assert path.stat().st_size > 80e6
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from mcusim.calibration.importers import open_trace, traced_run\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(traced_run(open_trace(Path(sys.argv[1]))).windows)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    windows, grown_kib = map(int, done.stdout.split())
    assert windows == 8 * 400
    assert grown_kib < 80 * 1024
