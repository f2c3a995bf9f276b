"""Battery life: sums that a person can do by hand."""

import json

import pytest

import mcusim
from mcusim.boards import load_board
from mcusim.duty_cycle import duty_cycle
from mcusim.errors import InputError
from tests.small_models import convolution

ESTIMATE = mcusim.estimate(convolution(), load_board("nucleo-l496zg"))


def test_a_period_is_one_inference_and_a_rest():
    found = duty_cycle(ESTIMATE, 10.0, battery_ah=0.22, rest_a=1e-5)
    wake_j = 5e-6 * ESTIMATE.board.power.active_w(80e6)
    rest_s = 10.0 - ESTIMATE.latency_s - 5e-6
    assert found.energy_j == pytest.approx(ESTIMATE.energy_j + wake_j + rest_s * 1e-5 * 3.3)
    assert found.average_a == pytest.approx(found.energy_j / 10.0 / 3.3)
    assert found.life_s == pytest.approx(0.22 * 3600 / found.average_a)
    assert found.duty == pytest.approx((ESTIMATE.latency_s + 5e-6) / 10.0)


def test_long_periods_tend_to_the_current_of_sleep():
    found = duty_cycle(ESTIMATE, 1e6)
    assert found.rest == "sleep"
    assert found.average_a == pytest.approx(ESTIMATE.board.power.sleep_a, rel=0.01)
    assert found.life_s is None
    assert duty_cycle(ESTIMATE, 1e6, rest="idle").average_a > 100 * found.average_a


def test_a_board_that_never_rests_draws_its_active_power():
    found = duty_cycle(ESTIMATE, ESTIMATE.latency_s, rest="idle")
    assert found.duty == 1
    assert found.average_w == pytest.approx(ESTIMATE.energy_j / ESTIMATE.latency_s)


@pytest.mark.parametrize(
    ("period_s", "settings", "sentence"),
    [
        (1e-6, {}, "longer than the period of 1e-06 s"),
        (0, {}, "a period is above 0, not 0"),
        (1, {"battery_ah": -1}, "a battery's charge is above 0, not -1"),
        (1, {"rest": "off"}, "a board rests in 'sleep' or 'idle', not in 'off'"),
    ],
)
def test_what_cannot_be_is_told(period_s, settings, sentence):
    with pytest.raises(InputError) as caught:
        duty_cycle(ESTIMATE, period_s, **settings)
    assert sentence in str(caught.value)


def test_a_current_that_is_not_known_is_asked_for():
    found = mcusim.estimate(convolution(), load_board("raspberry-pi-4b"))
    with pytest.raises(
        InputError, match=r"its current in sleep is not known; give `power\.sleep_a`"
    ):
        duty_cycle(found, 1.0, rest="sleep")
    assert duty_cycle(found, 1.0).rest == "idle"


def test_the_command_takes_supply_and_placement(tmp_path):
    from mcusim.cli import _run

    path = tmp_path / "found.json"
    settings = ["--supply", "3V", "--place", "weights=sram2,code=ram", "--place", "stack=sram1"]
    assert _run(["run", "lenet-5", "--board", "nucleo-l4r5zi", *settings, "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["board"]["supply_v"] == 3.0
    assert found["placement"] == {
        "code": "ram",
        "weights": "sram2",
        "arena": "ram",
        "stack": "sram1",
    }
    causes = [layer["cycles_by_cause"] for layer in found["layers"]]
    assert sum(cause["fetch"] + cause["data"] for cause in causes) == 0


def test_a_board_that_draws_more_at_rest_than_computing_is_refused():
    """Five amperes were five microamperes; the interval of the battery's life stood on its head."""
    with pytest.raises(
        InputError, match=r"draws 0\.012\d* A while computing: it does not rest at 5"
    ):
        duty_cycle(ESTIMATE, 10.0, battery_ah=1.0, rest_a=5.0)
