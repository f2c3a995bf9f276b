"""Whole networks, which no kernel's profile was fitted on."""

from collections import defaultdict

import pytest

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.networks import network_lines, network_table
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def lines():
    return network_lines(CountedSet(SHARED / "counted"))


def test_every_line_is_priced(lines):
    assert [line for line in lines if line.predicted is None] == []


def test_each_network_is_within_one_percent(lines):
    """What one Invoke executes, the interpreter's loop included."""
    counted, predicted = defaultdict(float), defaultdict(float)
    for line in lines:
        if line.index not in ("construct", "allocate_tensors"):
            counted[line.network, line.build] += line.counted
            predicted[line.network, line.build] += line.predicted
    errors = {key: predicted[key] / counted[key] - 1 for key in counted}
    assert len(errors) >= 20
    assert {key: error for key, error in errors.items() if abs(error) > 0.01} == {}


@pytest.mark.parametrize("index", ["construct", "allocate_tensors", "invoke_overhead"])
def test_framework_lines_are_within_three_percent(lines, index):
    """These networks are in the fit of these lines, beside 825 models of one operator."""
    errors = [line.error for line in lines if line.index == index]
    assert len(errors) >= 20
    assert max(map(abs, errors)) < 0.03


def test_the_table_names_every_network(lines):
    text = network_table(lines)
    assert all(line.network in text for line in lines)
