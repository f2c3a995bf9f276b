"""What an RTOS asks of exceptions: nested interrupts under every mask, tasks that use the FPU."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.chips import Chip, boot_machine
from mcusim.emulator.images import Image, Segment
from mcusim.emulator.machine import Machine
from tests.emulator.firmware_programs import CHIP, registers, word
from tests.emulator.thumb import BASE, board, halfwords

#: Four interrupts of priorities 0x80, 0x40, 0xC0 and 0x40. A handler writes 0x10 and its number,
#: pends what a table says for it (0 pends 1; 1 pends 2 and 3; 2 pends 0), and writes 0x20 and its
#: number. Thread code writes 0xFF behind each of: pend 0; with BASEPRI 0x80 pend 0, pend 1, and
#: back; with PRIMASK pend 1 and 2, WFI, and back; with FAULTMASK pend 1, and back; with BASEPRI
#: 0x40, which BASEPRI_MAX does not raise to 0x80, pend 2 and 3; with BASEPRI 0xC0; with none.
NESTED = bytes.fromhex(
    "dff8e4b0dff8e4a0dff8e49039483a4901603a480f21016000f058f80120c9f8000000f04ff800f051f88020"
    "80f31188bff36f8f0120c9f8000000f043f80220c9f8000000f03ef8002080f31188bff36f8f00f037f800f0"
    "39f872b60620c9f8000000f02ff830bf00f02cf862b6bff36f8f00f027f800f029f871b60220c9f8000000f0"
    "1ff861b6bff36f8f00f01af8402080f31188802080f312880c20c9f8000000f00ff8c02080f31188bff36f8f"
    "00f008f8002080f31188bff36f8f00f001f8fee7ff200bf8010b70470220caf800000c20caf804000120caf8"
    "08000020caf80c0070470000000100200002002000e200e000e400e08040c04000e100e00000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000eff30580103840f010010bf8011b00225af820104af82020c9f80010bff34f8f"
    "bff36f8f40f020010bf8011b704700bf"
)
#: What qemu-system-arm 7.2 (mps2-an386) wrote.
ORDER = bytes.fromhex(
    "10112113232012102022ffff11211323ff1011212012102022ffffff11211323121011212022ffff11211323"
    "121011212022ffff1323ff1222ff"
)

#: Three tasks, switched by PendSV as a kernel for the Cortex-M4F does it: r4 to r11 and EXC_RETURN,
#: and s16 to s31 where EXC_RETURN says that the task used the FPU. Two fill s0 to s31 with numbers
#: of their own, and compare them over and over; the third counts. SysTick comes every 5,000
#: cycles, computes in s0, s1 and s15, and pends PendSV. At 0x20000120 are counts of wrong numbers
#: and of the turns of the three tasks, at 0x20000130 that of SysTick.
TASKS = bytes.fromhex(
    "1f484ff470010160bff34f8fbff36f8f1c481d49016000241c4d1d4eb6f144001121002240f8042b0139fbd1"
    "44386ff0020101620ff26101c1634ff080710164446245f8240006f580660134032ce5d1002445f8044c0f48"
    "41f2873141608160072101602868b0e8f04f0168203080f30988022282f31488bff36f8f08460be088ed00e0"
    "20ed00e00000ff40100100200010002010e000e0194f02282cd000f101004fea00244ff0202505eb00252e46"
    "202146f8044b01340139fad195ec200a4fea002805f18009f0ee6ffa4e4686ec200a2021424656f8043b9342"
    "08d101320139f8d157f82030013347f82030ebe73b6801333b60fbe7fb680133fb60fbe72001002000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000b7ee000a70ee000af0ee607a044801680131016003484ff08051016070470000"
    "3001002004ed00e0000000000000000000000000000000000000000000000000eff309801ef0100f08bf20ed"
    "108a20e9f04f0b490a680b1d43f822000132032a08bf00220a6053f82200b0e8f04f1ef0100f08bfb0ec108a"
    "80f30988704700000c010020"
)


def booted(code: bytes, base: int, handlers: dict[int, int]) -> tuple[Machine, Chip]:
    """A machine and its chip with code behind a vector table."""
    vectors = [0x2000_3000, base | 1] + [0] * (base // 4 - 2)
    for number, address in handlers.items():
        vectors[number] = address | 1
    data = struct.pack(f"<{len(vectors)}I", *vectors) + code
    image = Image("program", (Segment(0, 0, data, len(data)),), base, 0)
    return boot_machine(image, board("m4"), table=CHIP)


def test_interrupts_nest_and_chain_in_the_order_of_qemu() -> None:
    machine, _ = booted(NESTED, 0x80, {16 + n: 0x80 + 0x140 for n in range(4)})
    machine.run(max_seconds=0.005)
    assert machine.read(0x2000_0100, len(ORDER) + 1) == ORDER + b"\0"


def test_floating_point_registers_belong_to_each_task() -> None:
    machine, _ = booted(TASKS, BASE, {15: BASE + 0x140, 14: BASE + 0x180})
    machine.run(max_seconds=0.02)
    wrong, first, second, third, ticks = struct.unpack("<5I", machine.read(0x2000_0120, 20))
    assert wrong == 0
    assert ticks == pytest.approx(0.02 * machine.clock_hz / 5000, abs=1.1)
    assert first > 1000
    assert second == pytest.approx(first, rel=0.02)
    assert third > 10 * first  # it does less in a turn
    assert not machine.faults


#: b .; interrupt 0: movs r4, #1; bx lr; SysTick: mov r5, sp; mov r6, r4; bx lr
_LATE = (0xE7FE, 0xBF00, 0x2401, 0x4770, 0x466D, 0x4626, 0x4770)


def test_more_urgent_exception_that_comes_during_entry_goes_first() -> None:
    """Late arrival (ARMv7-M ARM, B1.5.11): one frame is stacked, for the one that came later."""
    machine, chip = booted(halfwords(*_LATE), 0x80, {16: 0x84, 15: 0x88})
    machine.run(max_instructions=4)
    system = chip.system
    for offset, size, value in (
        *((0xE400, 1, 0x80), (0xE100, 4, 1)),  # interrupt 0: below SysTick, enabled
        *((0xE014, 4, 5), (0xE018, 4, 0), (0xE010, 4, 7)),  # SysTick in six cycles
        (0xE200, 4, 1),
    ):
        system.write(offset, size, value)
    machine.run(max_instructions=3)
    assert registers(machine, "r5", "r6") == (0x2000_3000 - 0x20, 0)
    assert word(machine, 0x2000_3000 - 8) == 0x80  # where thread code goes on
