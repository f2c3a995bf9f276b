"""Deutel et al.: what is published lies in our ranges, and its conclusions hold."""

from __future__ import annotations

import math

import pytest

from mcusim.experiments.deutel import reproduce
from mcusim.experiments.deutel_networks import NETWORKS, SKEWS, structure_pruned
from mcusim.experiments.reproduction import Reproduction


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


def test_every_published_number_of_a_microcontroller_lies_in_its_range(
    found: Reproduction,
) -> None:
    rows = [r for r in found.rows if r.low is not None and r.unit == "ms"]
    assert len(rows) == 37
    outside = [row for row in rows if not row.holds]
    assert not outside


def test_networks_pruned_alike_come_close(found: Reproduction) -> None:
    """Nothing was fitted to these rows; what is not known spans a factor of three and more."""
    table_4 = found.mean_absolute_error("Table 4")
    assert table_4 is not None
    assert table_4 < 0.2


def test_the_pi_4b_is_listed_without_a_prediction(found: Reproduction) -> None:
    rows = [r for r in found.rows if r.what.endswith("Pi 4B")]
    assert len(rows) == 60
    assert all(row.predicted is None and "onnxruntime" in row.note for row in rows)
    for ms, mw, mj in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert ms.published
        assert mw.published
        assert mj.published
        # Power times time is energy, within the published deviations of both.
        assert math.isclose(ms.published * mw.published / 1e3, mj.published, rel_tol=0.08)


def test_no_conclusion_is_contradicted(found: Reproduction) -> None:
    assert [c.text for c in found.claims if c.confirmed is False] == []
    assert sum(c.confirmed is True for c in found.claims) >= 7


def test_quantized_flash_stays_on_its_plateau_longer(found: Reproduction) -> None:
    """Figure 6a, element-wise pruning."""
    figure = next(f for f in found.figures if f.name == "deutel-flash")
    lines = {s.name: list(s.y) for s in figure.series}
    plateau = {
        name: sum(y > 0.99 * line[0] for y in line)
        for name, line in lines.items()
        if name.startswith("element")
    }
    assert plateau["element, uint8"] > plateau["element, float32"] > 1
