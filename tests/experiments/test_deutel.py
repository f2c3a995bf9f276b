"""Deutel et al.: what is published lies in our ranges, and its conclusions hold."""

from __future__ import annotations

import math

import pytest

from mcusim.boards import load_board
from mcusim.estimator import estimate
from mcusim.experiments.deutel import reproduce
from mcusim.experiments.deutel_networks import (
    NETWORKS,
    SKEWS,
    element_pruned,
    structure_pruned,
)
from mcusim.experiments.deutel_sizes import flash_bytes
from mcusim.experiments.reproduction import Reproduction

_UNITS = ("ms", "mW", "mJ")


@pytest.fixture(scope="module")
def found() -> Reproduction:
    return reproduce()


@pytest.mark.parametrize("name", ["LeNet", "ResNet"])
def test_parameters_are_those_of_the_network(name: str) -> None:
    network = NETWORKS[name]
    graph = network.build(network.widths).graph()
    weighted = [n for n in graph.main.nodes if n.name in ("CONV_2D", "FULLY_CONNECTED")]
    elements = sum(t.elements for n in weighted for t in n.inputs[1:] if t is not None)
    assert network.parameters(network.widths) == elements


@pytest.mark.parametrize(("name", "millions"), [("LeNet", 1.2), ("AlexNet", 44.7), ("ResNet", 9.4)])
def test_whole_networks_have_the_published_parameters(name: str, millions: float) -> None:
    """Table 1."""
    network = NETWORKS[name]
    assert round(network.parameters(network.widths) / 1e6, 1) == millions


@pytest.mark.parametrize("skew", SKEWS)
def test_a_pruned_network_has_the_share_that_is_left(skew: float) -> None:
    network = NETWORKS["ResNet"]
    graph = structure_pruned("ResNet", 0.932, skew, True)
    weighted = [n for n in graph.main.nodes if n.name in ("CONV_2D", "FULLY_CONNECTED")]
    elements = sum(t.elements for n in weighted for t in n.inputs[1:] if t is not None)
    assert math.isclose(elements, 0.068 * network.parameters(network.widths), rel_tol=0.03)


def test_every_published_time_lies_in_its_range(found: Reproduction) -> None:
    rows = [r for r in found.rows if r.unit == "ms"]
    assert len(rows) == 37 + 20
    outside = [row for row in rows if not row.holds]
    assert not outside


def test_networks_pruned_alike_come_close(found: Reproduction) -> None:
    """Nothing was fitted to these rows; what is not known spans a factor of three and more."""
    table_4 = found.mean_absolute_error("Table 4")
    assert table_4 is not None
    assert table_4 < 0.2


def test_the_pi_4b_has_ranges_and_no_number(found: Reproduction) -> None:
    rows = {u: [r for r in found.rows if r.what.endswith("Pi 4B") and r.unit == u] for u in _UNITS}
    assert [len(each) for each in rows.values()] == [20, 20, 20]
    for ms, mw, mj in zip(*rows.values(), strict=True):
        assert ms.predicted is None
        assert mj.predicted is None
        assert "onnxruntime" in ms.note
        assert ms.holds
        assert mj.holds
        assert ms.published
        assert mw.published
        assert mj.published
        # Power times time is energy, within the published deviations of both.
        assert math.isclose(ms.published * mw.published / 1e3, mj.published, rel_tol=0.08)


@pytest.mark.parametrize("is_float", [True, False])
def test_flash_by_formula_is_that_of_the_plan(is_float: bool) -> None:
    """Figure 6 is drawn by a formula; on LeNet a network can be made, pruned and planned."""
    graph = element_pruned(0.9, dense_only=False, is_float=is_float)
    sized = estimate(graph, load_board("raspberry-pi-pico"), "dnnruntime")
    weights = next(p.size_bytes for p in sized.flash if p.name == "weights")
    assert flash_bytes("LeNet", 0.1, is_float, True) == pytest.approx(weights, rel=0.01)


def test_two_published_rows_are_of_one_model(found: Reproduction) -> None:
    """LeNet uint8 on the Arduino: 18.84 and 18.79 ms where all its siblings halve."""
    times = {r.what: r.published for r in found.rows_of("Table 3") if r.unit == "ms"}

    def ratio(kind: str, board: str) -> float:
        more, less = (times[f"LeNet {kind}, structure {c} %, {board}"] for c in ("99.18", "99.7"))
        assert more
        assert less
        return more / less

    siblings = [ratio("float32", "Arduino"), ratio("float32", "Pico"), ratio("uint8", "Pico")]
    assert min(siblings) > 1.9
    assert ratio("uint8", "Arduino") == pytest.approx(1, abs=0.005)


def test_conclusions_but_the_strictest_hold(found: Reproduction) -> None:
    assert [c.text for c in found.claims if c.confirmed is False] == [
        "Models in order of time, board by board (tables 3 and 4)"
    ]
    assert sum(c.confirmed is True for c in found.claims) >= 12


def test_quantized_flash_stays_on_its_plateau_longer(found: Reproduction) -> None:
    """Figure 6a, element-wise pruning."""
    figure = next(f for f in found.figures if f.name == "deutel-flash-lenet")
    lines = {s.name: list(s.y) for s in figure.series}
    plateau = {
        name: sum(y > 0.99 * line[0] for y in line)
        for name, line in lines.items()
        if name.startswith("element")
    }
    assert plateau["element, uint8"] > plateau["element, float32"] > 1
