"""Supply: what a regulator does to the current, and what a board draws while it waits."""

import pytest

import mcusim
from mcusim.boards import load_board
from mcusim.errors import BoardError, InputError
from tests.small_models import convolution


def test_a_linear_regulator_draws_the_same_current_at_every_supply():
    """NUCLEO-L4R5ZI, MLPerf Tiny: 39 to 49 mW at 1.8 V, 70 to 78 mW at 3.0 V, one firmware."""
    power = load_board("nucleo-l4r5zi").power
    low, high = (power.with_supply(volts).active_w(120e6) for volts in (1.8, 3.0))
    assert high / low == pytest.approx(3.0 / 1.8)
    assert 70 / 49 < high / low < 78 / 39


def test_a_switching_regulator_draws_the_same_power():
    power = load_board("nucleo-u575zi-q").power
    low, high = (power.with_supply(volts).active_w(160e6) for volts in (1.8, 3.3))
    assert high == pytest.approx(low)


def test_an_external_converter_halves_what_the_l4r5_draws():
    """MLPerf Tiny v1.3: 33 mW at 3.0 V with an external SMPS, 70 to 78 mW without it (v1.1)."""
    power = load_board("nucleo-l4r5zi").power
    without, through = (power.with_supply(3.0, r).active_w(120e6) for r in ("ldo", "smps"))
    assert through / without == pytest.approx(33.3 / 74, rel=0.08)


def test_a_current_is_meant_at_the_supply_of_its_own_file(tmp_path):
    """Whoever measures 10 mA at 3.3 V and writes so has measured 33 mW, whatever the base."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "nucleo-u575zi-q"\n[power]\nsupply_v = 3.3 # bench\n'
        "active_a_per_hz = 6.25e-11 # 10 mA at 160 MHz\n"
    )
    assert load_board(path).power.active_w(160e6) == pytest.approx(0.033)
    path.write_text('base = "nucleo-u575zi-q"\n[power]\nsupply_v = 3.3 # bench\n')
    base = load_board("nucleo-u575zi-q").power
    assert load_board(path).power.active_w(160e6) == pytest.approx(base.active_w(160e6))


def test_every_board_draws_less_at_rest_than_at_work():
    for name in mcusim.boards.board_names():
        board = load_board(name)
        clock_hz = board.clock.default_hz
        assert board.power.idle_w(clock_hz) < board.power.active_w(clock_hz)
        sleep_w = board.power.sleep_w()
        assert sleep_w is None or sleep_w < board.power.idle_w(clock_hz)


def test_energy_above_idle_is_what_computing_adds():
    found = mcusim.estimate(convolution(), load_board("disco-f469ni"))
    idle_w = found.board.power.idle_w(180e6)
    assert found.energy_above_idle_j == pytest.approx(found.energy_j - idle_w * found.latency_s)
    assert 0 < found.energy_above_idle_j < found.energy_j


def test_an_estimate_takes_another_supply():
    graph, board = convolution(), load_board("nucleo-l4r5zi")
    low, high = (mcusim.estimate(graph, board, supply_v=volts) for volts in (1.8, 3.0))
    assert high.latency_s == low.latency_s
    assert high.energy_j / low.energy_j == pytest.approx(3.0 / 1.8)
    assert high.to_dict()["board"]["supply_v"] == 3.0
    smps = mcusim.estimate(graph, board, supply_v=3.0, regulator="smps")
    assert smps.energy_j < high.energy_j / 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"supply_v": -1}, "-1 V supplies no board"),
        ({"supply_v": 5.0}, "nucleo-l496zg runs at 1.71 to 3.6 V, not at 5 V"),
        ({"regulator": "buck"}, "a regulator is 'ldo' or 'smps', not 'buck'"),
        ({"regulator": "smps"}, "give `power.core_v`"),
    ],
)
def test_a_supply_that_cannot_be_is_told(settings, sentence):
    with pytest.raises(InputError) as caught:
        mcusim.estimate(convolution(), load_board("nucleo-l496zg"), **settings)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ("[3.6, 1.7]", "has its lowest, 3.6 V, above its highest"),
        ("[1.7]", "must be the lowest and the highest, such as [1.71, 3.6]"),
        ("3.6", "must be the lowest and the highest, such as [1.71, 3.6]"),
        ("[-1, 3.6]", "must be the lowest and the highest, such as [1.71, 3.6]"),
    ],
)
def test_a_range_of_supplies_is_two_voltages_the_lowest_first(tmp_path, limits, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "nucleo-l496zg"\n[power]\nsupply_range_v = {limits} # mine\n')
    with pytest.raises(BoardError) as caught:
        load_board(path)
    assert f"mine.toml, line 3: `power.supply_range_v` {sentence}" in str(caught.value)
