"""``mcusim boards check``: what ships is beyond doubt, and what a person gets wrong is found."""

import re

import pytest

from mcusim.boards import board_names
from mcusim.boards.checks import check
from mcusim.cli import _run as mcusim

REGIONS = """[regions]
rom = [0x4000_0000, 65_536] # manual
ram = [0x4000_8000, 65_536] # manual
"""


def write(folder, text, base="nucleo-f207zg"):
    path = folder / "my-board.toml"
    path.write_text(f'base = "{base}"\n{text}')
    return path


@pytest.mark.parametrize("name", board_names())
def test_nothing_is_found_in_a_shipped_board(name):
    assert [str(finding) for finding in check(name)] == []


@pytest.mark.parametrize(
    ("text", "line", "key", "sentence"),
    [
        ("[clock]\ndefault_hz = 60_000_000\n", 3, "clock.default_hz", "names no source"),
        ("[clock]\nmin_hz = 16 # manual\n", 3, "clock.min_hz", "is 16 Hz, which no core runs at"),
        ("[power]\nactive_a_per_hz = 188 # manual\n", 3, "power.active_a_per_hz", "188 A/Hz; 100"),
        ("[power]\nsupply_v = 3300 # manual\n", 3, "power.supply_v", "3300 V"),
        ("[power]\nsupply_v = 5 # USB\n", 3, "power.supply_v", "the chip runs at 1.8 to 3.6 V"),
        ("[power]\nsupply_range_v = [1.7, 3.6]\n", 3, "power.supply_range_v", "names no source"),
        ("[flash]\nline_bytes = 12 # manual\n", 3, "flash.line_bytes", "no power of two"),
        ("[flash]\nwait_states = [[3e7, 2], [12e7, 1]] # table\n", 3, "flash.wait_states", "fall"),
        (REGIONS, 4, "regions.ram", "overlaps `regions.rom`"),
        ("[regions]\nram = [0xFFFF_FFF0, 64] # manual\n", 3, "regions.ram", "32 bits"),
        ("[flash]\nbytes = 524_288 # manual\n", 30, "regions.flash", "`flash.bytes` says 524,288"),
        ("[ram]\nbytes = 262_144 # manual\n", 3, "ram.bytes", "more than the 131,072"),
        ("[ram]\nbytes = 128 # manual\n", 3, "ram.bytes", "is 128; 128 KB is 131_072"),
        ("[flash]\nbytes = 1024 # manual\n", 3, "flash.bytes", "is 1,024; 512 KB is 524_288"),
        ("[flash]\nwait_states = [[12e7, 999]] # manual\n", 3, "flash.wait_states", "999 cycles"),
        ("[power]\nwake_s = 110 # us\n", 3, "power.wake_s", "is 110 s; 5 us is 5e-6"),
        ("[flash]\nline_bytes = 128 # manual\n", 3, "flash.line_bytes", "128 bits are 16"),
        ("[flash]\nicache_bytes = 8 # KB\n", 3, "flash.icache_bytes", "16 KB is 16_384"),
        ("[power]\nactive_a = 5 # mA\n", 3, "power.active_a", "is 5 A; 5 mA is 5e-3"),
        ("[core_overrides.cycles]\nload_word = 1900 # mine\n", 3,
         "core_overrides.cycles.load_word", "is 1900 cycles"),
        ("[clock]\ndefault_hz = 60_000_000 # TODO\n", 3, "clock.default_hz", "names no source"),
        ("name = ''\n", 2, "name", "is empty"),
        ("calibrated = true # ours\n", 2, "calibrated", "no table `calibration`"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_found_with_file_line_and_key(tmp_path, text, line, key, sentence):
    path = write(tmp_path, text)
    found = [finding for finding in check(path) if finding.key == key]
    assert found, check(path)
    assert sentence in found[0].sentence
    if key != "regions.flash":
        assert (found[0].file, found[0].line) == ("my-board.toml", line)
    else:
        assert found[0].file == "nucleo-f207zg.toml"


@pytest.mark.parametrize(
    "text",
    [
        "[clock]\ndefault_hz = 500_000_000 # too fast\n",
        "[clock]\nmin_hz = 130_000_000 # above the default\n",
        "[clock]\nmax_hz = 130_000_000 # above the wait states\n",
        "[regions]\nram = [0x2000_0000] # no size\n",
    ],
)
def test_a_file_that_cannot_be_used_is_one_finding(tmp_path, text):
    (finding,) = check(write(tmp_path, text))
    assert re.search(r"my-board.toml, line [23]: ", str(finding))


def test_a_number_of_the_core_is_looked_at_too(tmp_path):
    (tmp_path / "core.toml").write_text('base = "cortex-m3"\n[cycles]\ndivide = 5\n')
    (finding,) = check(write(tmp_path, 'core = "core.toml"\n'))
    assert str(finding).startswith("core.toml, line 3: `core.cycles.divide` names no source")


def test_the_command_prints_findings_and_exits_with_one(tmp_path, capsys):
    assert mcusim(["boards", "check"]) == 0
    assert capsys.readouterr().out == f"{len(board_names())} boards checked, nothing found\n"
    path = write(tmp_path, "[clock]\ndefault_hz = 60_000_000\n")
    assert mcusim(["boards", "check", str(path)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("my-board.toml, line 3: `clock.default_hz` names no source")
    assert last == "1 board checked, 1 found"


def test_a_shared_core_is_told_of_once(tmp_path, capsys):
    (tmp_path / "core.toml").write_text('base = "cortex-m3"\n[cycles]\ndivide = 5\n')
    for name in ("a.toml", "b.toml"):
        write(tmp_path, 'core = "core.toml"\n').rename(tmp_path / name)
    files = [str(tmp_path / name) for name in ("a.toml", "b.toml")]
    assert mcusim(["boards", "check", *files]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 boards checked, 1 found"


def test_what_is_wrong_with_the_command_line_is_one_sentence(capsys):
    assert mcusim(["boards", "nucleo-f767zi", "nucleo-f746zg"]) == 2
    assert "unexpected extra argument" in capsys.readouterr().err
    assert mcusim(["boards", "check", "none.toml"]) == 1
    assert "none.toml: there is no such file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ("[flash]\nprefetch = false # off\n", "flash.icache_holds", "is about lines read ahead"),
        (
            "[flash]\ndcache_bytes = 2_000_000 # big\n",
            "flash.dcache_bytes",
            "as large as the flash",
        ),
        (
            '[flash.wait_states_below]\n"2.7" = [[120_000_000, 2]] # table\n',
            "flash.wait_states_below.2.7",
            "has fewer wait states at 120,000,000 Hz than",
        ),
        (
            "[memory.ram]\nburst_bytes = 4 # bus\ncached = false # no\n",
            "memory.ram",
            "is described by `[ram]`",
        ),
        (
            "[memory.sdram]\nlatency_s = 90 # manual\nburst_bytes = 4 # bus\ncached = false # no\n",
            "memory.sdram.latency_s",
            "is 90 s; 90 ns is 9e-8",
        ),
        ("[power]\nidle_a_per_hz = 1e-8 # manual\n", "power.idle_a_per_hz", "no less than"),
        ("[power]\nsleep_a = 2.5 # manual\n", "power.sleep_a", "no less than what the board draws"),
    ],
)
def test_memories_caches_and_rest_that_cannot_be_are_found(tmp_path, text, key, sentence):
    found = [finding for finding in check(write(tmp_path, text)) if finding.key == key]
    assert found, check(write(tmp_path, text))
    assert sentence in found[0].sentence
    assert found[0].line > 0


def test_memory_that_waits_is_no_room_for_ram(tmp_path):
    """SDRAM beside the chip does not make up for RAM that is not on it."""
    path = write(tmp_path, "[ram]\nbytes = 4_194_304 # manual\n", base="disco-f469ni")
    (finding,) = (finding for finding in check(path) if finding.key == "ram.bytes")
    assert "more than the 393,216 of the regions" in finding.sentence
