"""What ships is what the published runs give, and docs/accuracy.md says how good it is."""

import json
import re
import statistics
from collections import Counter

import pytest

from mcusim.boards import board_names, load_board
from mcusim.calibration.accuracy_page import accuracy_page
from mcusim.calibration.accuracy_tables import errors, ordered_rows, orderings
from mcusim.calibration.held_out import (
    coverage,
    energy_coverage,
    held_out_energy,
    held_out_latency,
    held_out_power,
)
from mcusim.calibration.published import published_runs
from mcusim.calibration.shipped import shipped_files
from mcusim.resources import data_path

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
PAGE = data_path("docs", "accuracy.md")


def words_and_numbers(text):
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(text)]
    return " ".join(NUMBER.sub("0", text).replace("+0", "0").split()), numbers


@pytest.mark.skipif(not PAGE.is_file(), reason="a wheel has no docs")
def test_the_page_is_current():
    """In every word; numbers as close as different linear algebra leaves them."""
    shown, expected = words_and_numbers(PAGE.read_text())
    said, numbers = words_and_numbers(accuracy_page())
    assert shown == said
    assert numbers == pytest.approx(expected, rel=0.01, abs=0.11)


def test_what_ships_is_current():
    files = shipped_files()
    folder = data_path("calibration")
    held = [*folder.glob("boards/*.json"), *folder.glob("cores/*.json")]
    assert {str(path.relative_to(folder)) for path in held} <= files.keys()
    for path, text in files.items():
        assert leaves(json.loads((folder / path).read_text())) == leaves(json.loads(text)), path


def leaves(value):
    """Values of a JSON document, numbers with a tolerance."""
    if isinstance(value, dict):
        return {key: leaves(one) for key, one in value.items()}
    if isinstance(value, list):
        return [leaves(one) for one in value]
    if isinstance(value, float):
        return pytest.approx(value, rel=2e-3, abs=2e-4)
    return value


def near(rows):
    return [h for h in rows if h.distance in ("network", "kind")]


def test_a_network_left_out_of_a_calibrated_board_is_within_five_percent_in_the_mean():
    found = errors(near(held_out_latency()))
    networks = Counter((run.board, run.software) for run in published_runs("known"))
    assert len(found) == sum(number for number in networks.values() if number > 1)
    assert statistics.fmean(found) <= 0.05


def test_a_board_never_measured_is_within_twelve_percent_at_the_median():
    rows = [h for h in held_out_latency() if h.distance == "board" and h.run.status == "known"]
    assert statistics.median(errors(rows)) <= 0.12


def test_energy_is_within_six_percent_in_the_mean():
    assert statistics.fmean(errors(near(held_out_energy()))) <= 0.06


def test_ninety_percent_intervals_hold_ninety_percent():
    """Of runs that were not fitted; each interval from runs that were not left out with it."""
    every = []
    for found in (coverage(held_out_latency()), coverage(held_out_power())):
        every += found
        assert 0.86 <= share(found) <= 0.94
    every += energy_coverage()
    assert sum(c.runs for c in every) > 400
    assert 0.86 <= share(every) <= 0.94


def share(found):
    return sum(c.inside for c in found) / sum(c.runs for c in found)


def test_boards_are_ordered_by_time_as_measured():
    pairs, right, wrong = orderings(ordered_rows())
    assert pairs > 150
    assert right == pairs, wrong


def test_boards_are_ordered_by_energy_as_measured():
    pairs, right, wrong = orderings(ordered_rows(energy=True), energy=True)
    assert pairs > 30
    assert right == pairs, wrong


def test_boards_with_known_runs_are_calibrated_and_others_say_that_they_are_not():
    measured = {run.board for run in published_runs("known")}
    for name in board_names():
        board = load_board(name)
        if name in measured:
            assert board.calibrated
        if board.calibration is None:
            assert not board.calibrated
            low = board.core.uncalibrated.measured_over_predicted_low
            assert low < 0.9


def test_a_board_that_resembles_a_measured_one_is_not_measured():
    assert load_board("disco-f469ni").calibrated
    assert not load_board("nucleo-f429zi").calibrated  # its file is based on the other's
