"""`mcusim run --period --battery`: energy of a period, average current, and a battery's life."""

import json

import pytest
from click.testing import CliRunner
from jsonschema import validate

import mcusim
from mcusim.cli import commands
from mcusim.duty_cycle import duty_cycle
from mcusim.report import duty_cycle_dict, duty_cycle_lines, estimate_schema
from tests.small_models import convolution

BOARD = mcusim.load_board("nucleo-l496zg")
SLEEPS = BOARD.model_copy(update={"power": BOARD.power.model_copy(update={"sleep_a": 2e-6})})


def run(*arguments):
    return CliRunner().invoke(commands, ["run", "lenet-5", "--board", BOARD.name, *arguments])


def test_energy_of_a_period_is_computing_and_resting():
    found = mcusim.estimate(convolution(), SLEEPS)
    cycle = duty_cycle(found, 1.0, battery_ah=0.22)
    said = duty_cycle_dict(cycle, found)
    resting_j = 2e-6 * 3.3 * (1 - said["active_s"])
    computing_j = said["energy_j"] - resting_j
    assert computing_j == pytest.approx(
        found.energy_j + (said["active_s"] - found.latency_s) * SLEEPS.power.active_w(80e6)
    )
    assert said["average_a"] == pytest.approx(said["energy_j"] / 3.3)
    assert said["life_s"] == pytest.approx(0.22 * 3600 / said["average_a"])
    assert said["duty"] == pytest.approx(said["active_s"])
    low, high = said["energy_interval_j"]
    assert high - low == pytest.approx(
        found.energy_interval_j[1] - found.energy_interval_j[0], rel=0.01
    )
    assert said["life_interval_s"][0] < said["life_s"] < said["life_interval_s"][1]


def test_what_is_said_is_in_the_schema():
    found = mcusim.estimate(convolution(), SLEEPS)
    for battery_ah in (0.22, None):
        cycle = duty_cycle(found, 60.0, battery_ah=battery_ah)
        validate(found.to_dict() | {"duty_cycle": duty_cycle_dict(cycle, found)}, estimate_schema())


def test_lines_name_units():
    found = mcusim.estimate(convolution(), SLEEPS)
    period, energy, battery = duty_cycle_lines(duty_cycle(found, 60.0, battery_ah=0.22), found)
    assert period.startswith("period    1 min: computing")
    assert "sleep at 2 µA for the rest" in period
    assert "mJ a period (90 %:" in energy
    assert "battery   220 mAh last" in battery
    assert "years" in battery


def test_the_command_prints_it_and_saves_it(tmp_path):
    done = run(
        "--period", "1s", "--battery", "220mAh", "--rest", "2uA", "--json", f"{tmp_path}/e.json"
    )
    assert done.exit_code == 0, done.output
    assert "battery   220 mAh last" in done.output
    assert json.loads((tmp_path / "e.json").read_text())["duty_cycle"]["battery_ah"] == 0.22


def test_reports_as_files_hold_it(tmp_path):
    page, text = tmp_path / "e.html", tmp_path / "e.md"
    arguments = ("--period", "1s", "--battery", "220mAh", "--rest", "2uA")
    assert run(*arguments, "--html", str(page), "--markdown", str(text)).exit_code == 0
    for file in (page, text):
        assert "mJ a period (90 %:" in file.read_text()
        assert "220 mAh last" in file.read_text()


@pytest.mark.parametrize(
    ("battery", "said"),
    [("220mAh", "220 mAh"), ("0.22 Ah", "220 mAh"), ("726mWh", "220 mAh"), ("2613.6J", "220 mAh")],
)
def test_batteries_by_charge_or_by_energy_at_the_supply(battery, said):
    done = run("--period", "1s", "--rest", "2uA", "--battery", battery)
    assert f"battery   {said} last" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--period", "1"), "1 has no unit; give a time such as 1s or 250ms"),
        (("--period", "0s"), "0s is not above 0"),
        (("--period", "soon"), "'soon' is not a time such as 1s or 250ms"),
        (("--period", "inf"), "'inf' is not a time"),
        (("--battery", "220mAh"), "--battery needs --period"),
        (("--rest", "sleep"), "--rest needs --period"),
        (("--period", "1s", "--battery", "220"), "220 has no unit; give a battery such as 220mAh"),
        (("--period", "1s", "--rest", "2"), "2 has no unit; give sleep, idle, or a current such"),
        (("--period", "1s", "--rest", "nap"), "'nap' is not sleep, idle, or a current such as"),
    ],
)
def test_a_slip_is_one_sentence(arguments, sentence):
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.output


def test_a_period_shorter_than_the_inference_is_refused():
    done = run("--period", "1ms", "--rest", "2uA")
    assert "longer than the period of 0.001 s" in str(done.exception)
    assert isinstance(done.exception, mcusim.InputError)
