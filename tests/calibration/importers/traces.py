"""Recordings made up for tests: current that rises with a pin, as each instrument has it."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Trace:
    """Inferences of 4 ms at 8 mA, every 10 ms, on 1 mA of idling; noise from a seed."""

    windows: int = 5
    high_s: float = 4e-3
    low_s: float = 6e-3
    rate_hz: float = 100_000.0
    active_a: float = 8e-3
    idle_a: float = 1e-3
    noise: float = 0.01

    @property
    def time_s(self):
        count = round((self.low_s + self.windows * (self.high_s + self.low_s)) * self.rate_hz)
        return np.arange(count) / self.rate_hz

    @property
    def pin(self):
        samples = np.arange(self.time_s.size)
        low, high = round(self.low_s * self.rate_hz), round(self.high_s * self.rate_hz)
        return samples % (low + high) >= low

    @property
    def current_a(self):
        level = np.where(self.pin, self.active_a, self.idle_a)
        return level * (1 + self.noise * np.random.default_rng(1).standard_normal(level.size))


def write_csv(path: Path, trace: Trace, header="time_s,current_a,gpio", form="{:.7f},{:.9g},{:d}"):
    rows = zip(trace.time_s.tolist(), trace.current_a.tolist(), trace.pin.tolist(), strict=True)
    lines = [form.format(*row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def write_ppk2_export(path: Path, trace: Trace):
    """As the Power Profiler app exports: milliseconds, microamperes, a sign for each pin."""
    rows = zip(trace.time_s.tolist(), trace.current_a.tolist(), trace.pin.tolist(), strict=True)
    lines = [f"{t * 1e3:.2f},{a * 1e6:.3f},00{pin:d}00000" for t, a, pin in rows]
    path.write_text("\n".join(["Timestamp(ms),Current(uA),D0-D7", *lines]) + "\n")
    return path


def write_ppk2(path: Path, trace: Trace):
    """As the Power Profiler app documents its sessions: frames of a float32 and two bits a pin."""
    frames = np.empty(trace.time_s.size, [("current", "<f4"), ("pins", "<u2")])
    frames["current"] = trace.current_a * 1e6
    # All pins low (01), and D2 high (10) where the pin is.
    frames["pins"] = np.where(trace.pin, 0x5555 + (1 << 4), 0x5555)
    about = {"metadata": {"samplesPerSecond": trace.rate_hz, "startSystemTime": 1.7e12}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("session.raw", frames.tobytes())
        archive.writestr("minimap.raw", b"")
        archive.writestr("metadata.json", json.dumps(about | {"formatVersion": 2}))
    return path


def write_jls(path: Path, trace: Trace, supply_v=3.0):
    """With the vendor's own writer."""
    import pyjls

    with pyjls.Writer(str(path)) as writer:
        writer.source_def(1, "JS220", "Jetperch", "JS220", "1", "000001")
        for index, (name, units) in enumerate([("current", "A"), ("voltage", "V")], 1):
            writer.signal_def(index, 1, sample_rate=int(trace.rate_hz), name=name, units=units)
        writer.signal_def(
            3, 1, sample_rate=int(trace.rate_hz), name="gpi[0]", data_type=pyjls.DataType.U1
        )
        writer.fsr(1, 0, trace.current_a.astype(np.float32))
        writer.fsr(2, 0, np.full(trace.time_s.size, supply_v, np.float32))
        writer.fsr(3, 0, np.packbits(trace.pin, bitorder="little"))
    return path


def write_rld(path: Path, trace: Trace, supply_v=3.0):
    """Version 4 of the layout in RocketLogger's documentation: one pin, a voltage, a current."""
    block = int(trace.rate_hz) // 1000 * 10
    count = trace.time_s.size // block * block
    channels = [
        (3, 0, 4, 65535, b"DI1"),  # binary
        (1, -8, 4, 65535, b"V1"),  # voltage, 10 nV
        (2, -9, 4, 65535, b"I1H"),  # current, 1 nA
    ]
    header = struct.pack("<IHHIIQH", 0x444C5225, 4, 0, block, count // block, count, 1000)
    header += b"\x12\x34\x56\x78\x90\xab" + struct.pack("<qq", 1_700_000_000, 0)
    comment = b"made up for a test  "
    header += struct.pack("<IHH", len(comment), 1, 2) + comment
    for unit, scale, size, link, name in channels:
        header += struct.pack("<IiHH16s", unit, scale, size, link, name)
    header = header[:6] + struct.pack("<H", len(header)) + header[8:]
    samples = np.empty(count, [("bin", "<u4"), ("v", "<i4"), ("i", "<i4")])
    samples["bin"] = trace.pin[:count]
    samples["v"] = round(supply_v * 1e8)
    samples["i"] = np.round(trace.current_a[:count] * 1e9)
    with path.open("wb") as file:
        file.write(header)
        for start in range(0, count, block):
            file.write(struct.pack("<qqqq", 1_700_000_000, 0, 10, 0))
            file.write(samples[start : start + block].tobytes())
    return path
