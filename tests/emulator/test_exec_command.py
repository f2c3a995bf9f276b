"""``mcusim exec`` as a user types it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

pytest.importorskip("unicorn")

from mcusim.cli.exec import command
from mcusim.errors import InputError
from tests.emulator.thumb import BASE, STACK, halfwords

#: 50 x 64 turns of a dot product, then an exit by semihosting.
_PROGRAM = bytes.fromhex(
    "40f232094ff0000c4ff000500f494022002350f8044b51f8045b2ffa84f6"
    "2ffa85f726fb07332ffa94f42ffa95f524fb0533013aedd14b60002b48bf"
    "0cf1010cb9f10109e0d118200149abbe0010002026000200"
)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return int(result.return_value or 0), result.output


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "dot.bin"
    vectors = struct.pack("<II", STACK, BASE | 1).ljust(BASE, b"\0")
    path.write_bytes(vectors + _PROGRAM)
    return path


def test_firmware_runs_to_its_exit(binary: Path, tmp_path: Path) -> None:
    saved = tmp_path / "result.json"
    code, said = run(str(binary), "--base", "0", "--board", "nrf52840-dk", "--json", str(saved))
    assert code == 0
    assert "the firmware ended" in said
    content = json.loads(saved.read_text())
    assert content["schema"] == "mcusim/execution/1"
    assert content["stop"]["reason"] == "exited"
    assert content["functions"][0]["instructions"]["counts"]["simd_mac"] == 50 * 64 * 2
    assert content["latency_s"] > 0
    assert content["energy_j"] > 0


def test_limits_end_cleanly_with_what_was_counted(binary: Path) -> None:
    code, said = run(
        str(binary), "--base", "0", "--board", "nrf52840-dk", "--max-instructions", "1000"
    )
    assert code == 0
    assert "instruction limit" in said
    assert "executed  1,0" in said


def test_a_fault_shows_registers_and_blocks(tmp_path: Path) -> None:
    path = tmp_path / "bad.bin"
    code_bytes = halfwords(0x4800, 0x6800, 0x0000, 0x7000)  # ldr r0, =0x70000000; ldr r0, [r0]
    vectors = struct.pack("<II", STACK, BASE | 1).ljust(BASE, b"\0")
    path.write_bytes(vectors + code_bytes)
    code, said = run(str(path), "--base", "0", "--board", "nrf52840-dk")
    assert code == 1
    assert "0x70000000" in said
    assert "r0 70000000" in said
    assert "last blocks" in said


def test_traces_are_saved(binary: Path, tmp_path: Path) -> None:
    trace, flame = tmp_path / "trace.json", tmp_path / "flame.json"
    run(
        str(binary),
        *("--base", "0", "--board", "nrf52840-dk"),
        *("--trace", str(trace), "--speedscope", str(flame)),
    )
    assert "traceEvents" in json.loads(trace.read_text())
    assert json.loads(flame.read_text())["exporter"] == "mcusim"


def test_firmware_that_waits_for_an_unknown_register_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcusim.emulator.bus._STUCK_READS", 1000)
    path = tmp_path / "poll.bin"
    # ldr r0, =0x4000F0F4; ldr r1, [r0]; cmp r1, #0; beq; nop
    code_bytes = halfwords(0x4801, 0x6801, 0x2900, 0xD0FC, 0xF0F4, 0x4000)
    vectors = struct.pack("<II", STACK, BASE | 1).ljust(BASE, b"\0")
    path.write_bytes(vectors + code_bytes)
    code, said = run(str(path), "--base", "0", "--board", "nrf52840-dk")
    assert code == 1
    assert (
        "stopped   stuck: 1,000 reads of register 0x4000f0f4, which no table has, at 0x42" in said
    )


def test_a_fault_that_the_firmware_handled_is_told_too(tmp_path: Path) -> None:
    """ldr r0, =0x70000000; ldr r1, [r0]; an exit; its HardFault handler steps over the load."""
    path, saved = tmp_path / "handles.bin", tmp_path / "result.json"
    body = halfwords(0x4802, 0x6801, 0x2307, 0x4902, 0x2018, 0xBEAB, 0x0000, 0x7000, 0x0026, 0x0002)
    handler = halfwords(0x9806, 0x3002, 0x9006, 0x4770)
    vectors = struct.pack("<IIII", STACK, BASE | 1, 0, BASE + len(body) | 1).ljust(BASE, b"\0")
    path.write_bytes(vectors + body + handler)
    code, said = run(str(path), "--base", "0", "--board", "nrf52840-dk", "--json", str(saved))
    assert code == 1
    assert "stopped   the firmware ended: with code 0" in said
    assert "! the firmware handled a fault at 0.000" in said
    assert "as HardFault, escalated from BusFault in 0x54: read where nothing answers" in said
    assert "r0 70000000" in said
    assert "cfsr 00008200" in said
    content = json.loads(saved.read_text())
    assert content["fault"] is None
    assert content["handled_faults"][0]["status"]["bfar"] == 0x7000_0000


@pytest.mark.parametrize("given", ["x", "x=", "=x", "x=."])
def test_a_file_has_a_name_and_a_place(binary: Path, given: str) -> None:
    with pytest.raises(click.BadParameter):
        run(str(binary), "--base", "0", "--board", "nrf52840-dk", "--file", given)


def test_a_name_has_one_file(binary: Path) -> None:
    with pytest.raises(click.BadParameter, match="'a' is given two files"):
        run(
            *(str(binary), "--base", "0", "--board", "nrf52840-dk"),
            *("--file", "a=1", "--file", "a=2"),
        )


@pytest.mark.parametrize("option", ["--json", "--trace", "--speedscope"])
def test_a_directory_that_is_not_there_is_told_before_the_run(binary: Path, option: str) -> None:
    with pytest.raises(click.UsageError, match="its directory is not there"):
        run(str(binary), "--base", "0", "--board", "nrf52840-dk", option, "/nowhere/x.json")


def test_a_clock_that_the_board_has_not_is_refused(binary: Path) -> None:
    for clock in ("0", "10GHz"):
        with pytest.raises(InputError, match="runs at 64 to 64 MHz, not at"):
            run(str(binary), "--base", "0", "--board", "nrf52840-dk", "--clock", clock)


def test_long_times_are_written_out(tmp_path: Path) -> None:
    """200 s are not 2e+05 ms, and some nanoseconds not 1.56e-07 s."""
    path = tmp_path / "sleeps.bin"
    # SysTick at its longest; wfi; b: the core sleeps but for the reloads.
    code_bytes = halfwords(
        *(0x4805, 0x4906, 0x6041, 0x2100, 0x6081, 0x2107, 0x6001, 0xBF30, 0xE7FD, 0x4770),
        *(0x0000, 0x0000, 0xE010, 0xE000, 0xFFFF, 0x00FF),
    )
    vectors = [STACK, BASE | 1, *([0] * 13), BASE + 18 | 1]
    path.write_bytes(struct.pack("<16I", *vectors) + code_bytes)
    base = (str(path), "--base", "0", "--board", "nrf52840-dk", "--max-seconds")
    _, said = run(*base, "200")
    assert "asleep    200,0" in said
    assert "e+" not in said
    _, said = run(*base, "1e-9")
    assert "e-0" not in said


def test_a_called_function_that_faults_shows_its_registers(tmp_path: Path) -> None:
    """movs r0, #7; lsls r0, r0, #28; ldr r1, [r0]: called by its address's symbol in an ELF."""
    from mcusim.emulator.calls import NotReturnedError
    from tests.emulator.thumb import machine_with

    machine = machine_with(halfwords(0x2007, 0x0700, 0x6801, 0x4770))
    with pytest.raises(NotReturnedError, match="did not return: fault: read where") as raised:
        machine.call(BASE)
    fault = raised.value.stop.fault
    assert fault is not None
    assert (fault.registers["r0"], fault.registers["pc"]) == (0x7000_0000, BASE + 4)


def test_a_stripped_image_says_what_cannot_be_told(binary: Path, tmp_path: Path) -> None:
    """A raw binary has no symbols; with a model behind its code, neither functions nor layers."""
    from mcusim.tflite import write
    from mcusim.zoo import build

    path = tmp_path / "model.bin"
    path.write_bytes(binary.read_bytes().ljust(0x200, b"\0") + write(build("lenet-5")))
    _, said = run(str(path), "--base", "0", "--board", "nrf52840-dk", "--max-instructions", "1000")
    said = " ".join(said.split())
    assert "model.bin has no symbols of functions, so that time is not told by function" in said
    assert "holds a model and no symbols of TFLite Micro's operators, so that time" in said


def test_an_image_for_other_memories_says_where_its_vectors_would_lie(binary: Path) -> None:
    with pytest.raises(InputError, match=r"its vector table, 0x00000000, lies in no memory of"):
        run(str(binary), "--base", "0", "--board", "nucleo-l4r5zi")
