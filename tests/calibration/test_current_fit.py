"""Supply currents from energies and recordings."""

import math

import pytest

from mcusim.boards import Power
from mcusim.calibration.current_fit import PoweredRun, fit_currents

POWER = Power(
    supply_v=3.0,
    regulator="ldo",
    active_a_per_hz=1e-10,
    active_a=1e-3,
    measured_over_predicted_low=0.8,
    measured_over_predicted_high=1.5,
)
HALF = math.log(1.5 / 0.8) / 2


def run(group, factor=1.0, idle_share=None, supply_v=3.0, clock_hz=80e6):
    power_w = factor * POWER.with_supply(supply_v).active_w(clock_hz)
    idle_a = None if idle_share is None else idle_share * power_w / supply_v
    return PoweredRun(group, clock_hz, power_w, supply_v, idle_a)


def test_one_factor_scales_both_parts_of_the_active_current():
    found = fit_currents(POWER, [run("a", 1.2), run("b", 1.21), run("c", 1.19)], HALF)
    assert found.values["active_a_per_hz"] == pytest.approx(1.2e-10)
    assert found.values["active_a"] == pytest.approx(1.2e-3)
    assert found.half_width < HALF


def test_a_linear_regulator_s_current_does_not_depend_on_the_voltage_it_was_measured_at():
    found = fit_currents(POWER, [run("a", 1.2, supply_v=1.8), run("b", 1.2)], HALF)
    assert found.values["active_a_per_hz"] == pytest.approx(1.2e-10)


def test_runs_at_two_clocks_tell_both_parts_of_the_active_current():
    real = POWER.model_copy(update={"active_a_per_hz": 0.8e-10, "active_a": 3e-3})
    runs = [
        PoweredRun(name, clock_hz, factor * real.active_w(clock_hz), 3.0)
        for name, clock_hz, factor in [
            ("a", 16e6, 1.005),
            ("b", 16e6, 0.995),
            ("c", 80e6, 1.01),
            ("d", 80e6, 0.99),
        ]
    ]
    found = fit_currents(POWER, runs, HALF)
    assert found.values["active_a"] == pytest.approx(3e-3, rel=0.03)
    assert found.values["active_a_per_hz"] == pytest.approx(0.8e-10, rel=0.03)
    assert found.half_width < HALF


def test_two_clocks_that_one_factor_explains_stay_with_one_factor():
    runs = [run("a", 1.2, clock_hz=16e6), run("b", 1.22), run("c", 1.18, clock_hz=16e6)]
    found = fit_currents(POWER, runs, HALF)
    assert found.values["active_a"] / found.values["active_a_per_hz"] == pytest.approx(1e7)


def test_a_fit_that_other_networks_speak_against_is_not_made():
    found = fit_currents(POWER, [run("a", 1.3), run("b", 0.75)], HALF)
    assert "active_a_per_hz" not in found.values
    assert "active_a_per_hz is kept" in found.notes[0]


def test_a_current_that_is_right_is_kept_and_its_interval_becomes_narrower():
    found = fit_currents(POWER, [run("a", 1.02), run("b", 0.98), run("c", 1.01)], HALF)
    assert found.values["active_a_per_hz"] == POWER.active_a_per_hz
    assert found.half_width < HALF


def test_what_one_network_differs_by_is_not_taken_for_the_board_s():
    assert fit_currents(POWER, [run("a", 1.02)], HALF).values["active_a_per_hz"] == 1e-10
    assert fit_currents(POWER, [run("a", 1.1)], HALF).values["active_a_per_hz"] == pytest.approx(
        1.1e-10
    )


@pytest.mark.parametrize(
    ("share", "key", "current_a"),
    [(0.3, "idle_a_per_hz", 0.3 * 9e-3 / 80e6), (0.001, "sleep_a", 0.001 * 9e-3)],
)
def test_the_current_between_inferences_is_idle_or_sleep_by_its_share(share, key, current_a):
    found = fit_currents(POWER, [run("a", idle_share=share)], HALF)
    assert found.values[key] == pytest.approx(current_a)
    assert not found.notes


def test_a_known_idle_current_is_scaled():
    power = POWER.model_copy(update={"idle_a_per_hz": 2e-11, "idle_a": 0.4e-3})
    found = fit_currents(power, [run("a", idle_share=0.3)], HALF)
    known_a = 0.4e-3 + 2e-11 * 80e6
    assert found.values["idle_a"] == pytest.approx(0.4e-3 * 0.3 * 9e-3 / known_a)
    assert found.values["idle_a_per_hz"] == pytest.approx(2e-11 * 0.3 * 9e-3 / known_a)


def test_a_core_that_waits_busily_tells_no_idle_current():
    found = fit_currents(POWER, [run("a", idle_share=0.95)], HALF)
    assert "idle_a_per_hz" not in found.values
    assert "95 % of that while computing" in found.notes[0]
