"""Board files: what ships is sound, and what a person writes wrong is told in one sentence."""

from pathlib import Path

import pytest

import mcusim.boards as boards
from mcusim.boards.files import without_fpu
from mcusim.errors import BoardError
from mcusim.instruction_mix import CLASSES
from mcusim.resources import data_path


def write(folder: Path, text: str, name: str = "my-board.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def numbers(value: object, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [k for name, v in value.items() for k in numbers(v, f"{key}.{name}".strip("."))]
    return [key] if isinstance(value, (int, float, list, tuple)) else []


@pytest.mark.parametrize("name", boards.board_names())
def test_every_number_of_a_shipped_board_names_its_source(name):
    file = boards.read_board_file(name)
    assert file.board.name == name
    values = file.board.model_dump()
    for key in numbers(values):
        assert file.origins[key].comment or file.origins[key].file.endswith("-soft.toml"), key


@pytest.mark.parametrize(
    "path",
    sorted(
        [*data_path("board_models").glob("*.toml"), *data_path("board_models", "cores").iterdir()]
    ),
    ids=lambda path: path.stem,
)
def test_a_file_is_short_enough_to_argue_with(path):
    assert len(path.read_text().splitlines()) < 150


@pytest.mark.parametrize(
    "name", [p.stem for p in data_path("board_models", "cores").glob("*.toml")]
)
def test_every_shipped_core_serves_a_board_with_and_without_fpu(name, tmp_path):
    path = write(tmp_path, f'base = "nucleo-l496zg"\ncore = "{name}"\n')
    board = boards.load_board(path)
    assert board.core.name == name
    assert without_fpu(board).core.without_fpu == without_fpu(board).core.name
    assert len(CLASSES) == len(dict(board.core.cycles))


def test_the_facts_of_the_four_boards():
    """Clock, flash and RAM as their datasheets' first pages give them."""
    facts = {
        "nucleo-l496zg": (80e6, 1 << 20, 320 << 10),
        "nucleo-l4r5zi": (120e6, 2 << 20, 640 << 10),
        "disco-f469ni": (180e6, 2 << 20, 384 << 10),
        "nrf52840-dk": (64e6, 1 << 20, 256 << 10),
    }
    for name, (clock, flash, ram) in facts.items():
        board = boards.load_board(name)
        assert (board.clock.default_hz, board.flash.bytes, board.ram.bytes) == (clock, flash, ram)


def test_wait_states_follow_the_clock():
    flash = boards.load_board("nucleo-l496zg").flash
    assert [flash.wait_states_at(hz * 1e6) for hz in (4, 16, 17, 48, 80)] == [0, 0, 1, 2, 4]


def test_a_board_is_laid_over_its_base(tmp_path):
    path = write(tmp_path, 'base = "nucleo-l496zg"\n[clock]\ndefault_hz = 16_000_000 # slow\n')
    file = boards.read_board_file(path)
    assert file.board.clock.default_hz == 16_000_000
    assert file.board.name == "my-board"
    assert file.board.flash == boards.load_board("nucleo-l496zg").flash
    assert file.origins["clock.default_hz"].comment == "slow"
    assert file.origins["clock.max_hz"].file == "nucleo-l496zg.toml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[flash]\nwait_state = 3\n", "line 3: `flash.wait_state` is not a key; did you mean `fl"),
        ("clock_hz = 3\n", "line 2: `clock_hz` is not a key"),
        ("[ram]\nbytes = 'many'\n", "line 3: `ram.bytes` must be a valid integer, not 'many'"),
        ("[ram]\nbytes = -1\n", "line 3: `ram.bytes` must be greater than 0, not -1"),
        ("[clock]\ndefault_hz = 90_000_000\n", "line 3: `clock.default_hz` is 90,000,000, and"),
        ("[flash]\nwait_states = [[80e6, 4], [16e6, 0]]\n", "line 3: `flash.wait_states` pairs"),
        ("[flash]\nwait_states = [[16e6, 0]]\n", "flash.wait_states must reach clock.max_hz"),
        ("core = 4\n", "line 2: `core` must be the name of a core"),
        ("core = 'cortex-m44'\n", "line 2: `core` names nothing: there is no core 'cortex-m"),
        ("flash.wait_states = [[1]]\n", "line 2: `flash.wait_states` must be pairs such as"),
        ("flash = 3\n", "line 2: `flash` must be a table, not 3"),
        ("clock.min_hz = 90_000_000\n", "line 2: `clock.default_hz` is 80,000,000, and must"),
        ("[[flash]]\nbytes = 1\n", "line 2: `flash` must be a table, not ["),
        ("[calibration]\ntime_scal = 1.1\n", "did you mean `calibration.time_scale`?"),
        ("flash.prefetch = 'yes'\n", "line 2: `flash.prefetch` must be true or false, not 'yes'"),
        ("ram.bytes = '320'\n", "line 2: `ram.bytes` must be a number, not '320'"),
        ("ram.bytes = true\n", "line 2: `ram.bytes` must be a number, not True"),
        ("flash.wait_states = []\n", "line 2: `flash.wait_states` must not be empty"),
        ("memory = 3\n", "line 2: `memory` must be a table, not 3"),
        ("power = 3\n", "line 2: `power` must be a table, not 3"),
        ("calibrated = \n", "line 2: is not TOML: Invalid value"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_key(tmp_path, text, sentence):
    path = write(tmp_path, 'base = "nucleo-l496zg"\n' + text)
    with pytest.raises(BoardError) as caught:
        boards.load_board(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named_with_its_table(tmp_path):
    with pytest.raises(BoardError, match=r"my-board.toml, line 4: `clock.default_hz` is missing"):
        text = 'core = "cortex-m4"\ndescription = ""\ncalibrated = false\n[clock]\n'
        boards.load_board(write(tmp_path, text))


def test_an_unknown_name_lists_close_ones():
    with pytest.raises(BoardError, match="did you mean nucleo-l496zg"):
        boards.load_board("nucleo-l469zg")
    with pytest.raises(BoardError, match=r"there are .*disco-f469ni, .*nrf52840-dk"):
        boards.load_board("zzz")


def test_files_that_are_none(tmp_path):
    with pytest.raises(BoardError, match="there is no such file"):
        boards.load_board(tmp_path / "none.toml")
    with pytest.raises(BoardError, match="cannot be read"):
        boards.load_board(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BoardError, match="UTF-8"):
        boards.load_board(tmp_path / "binary.toml")


def test_bases_that_lead_in_a_circle(tmp_path):
    write(tmp_path, 'base = "b.toml"\ncore = "cortex-m4"\n', "a.toml")
    path = write(tmp_path, 'base = "a.toml"\ncore = "cortex-m4"\n', "b.toml")
    with pytest.raises(BoardError, match="leads back to this file"):
        boards.load_board(path)


def test_a_mark_at_the_beginning_is_no_error(tmp_path):
    """Notepad saves UTF-8 with a byte order mark, and lines that end in two characters."""
    path = tmp_path / "my-board.toml"
    path.write_bytes(
        b'\xef\xbb\xbfbase = "nucleo-l496zg"\r\n[clock]\r\ndefault_hz = 48_000_000\r\n'
    )
    assert boards.load_board(path).clock.default_hz == 48_000_000


def test_a_base_that_is_not_there_is_told_where_it_is_named(tmp_path):
    path = write(tmp_path, '# mine\nbase = "desk.toml"\n')
    with pytest.raises(BoardError, match=r"line 2: `base` names desk\.toml, and there is no such"):
        boards.load_board(path)


@pytest.mark.parametrize(
    ("text", "calibrated", "power"),
    [
        ("[clock]\ndefault_hz = 48_000_000\n[flash]\nbytes = 524_288\n", True, True),
        ('core = "cortex-m7"\n', False, False),
        ("[flash]\nicache_bytes = 4_096\n", False, True),
        ("[flash]\nprefetch = false\n", True, True),  # as the base has it
        ("[core_overrides.cycles]\nload_word = 1.2\n", False, False),
        ("[power]\nactive_a_per_hz = 3e-10\n", True, False),
    ],
)
def test_what_was_fitted_to_another_core_memory_or_current_is_not_inherited(
    tmp_path, text, calibrated, power
):
    """Runs on an L496 say nothing of an M7, nor of a cache that it does not have."""
    base = boards.load_board("nucleo-l496zg")
    assert base.calibrated
    path = write(tmp_path, 'base = "nucleo-l496zg"\n' + text)
    # Through a file between them as well.
    for board in (
        boards.load_board(path),
        boards.load_board(write(tmp_path, 'base = "my-board.toml"\n', "other.toml")),
    ):
        assert board.calibrated == calibrated
        assert board.calibration == (base.calibration if calibrated else None)
        same = base.power.measured_over_predicted_low == board.power.measured_over_predicted_low
        assert same == power
