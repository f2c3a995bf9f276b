"""uTensor's pools against what utensor_cgen wrote and what the paper measured; its time."""

from __future__ import annotations

import pytest

import mcusim
from mcusim.experiments.profentzas import FILTERS, reproduce, utensor_network
from mcusim.runtimes import plan


@pytest.mark.parametrize(
    ("data_set", "filters", "ram", "metadata"),
    [("mnist", 32, 30_040, 1024), ("cifar10", 16, 31_800, 1088)],
)
def test_pools_are_those_of_the_generated_headers(
    data_set: str, filters: int, ram: int, metadata: int
) -> None:
    """``myconv.hpp`` of both networks in chrpro/TinyML-Evaluation."""
    memory = plan(utensor_network(data_set, filters), "utensor").memory
    assert memory is not None
    assert memory.head_bytes + memory.persistent[0].size_bytes == ram
    assert memory.persistent[1].size_bytes == metadata


def test_published_ram_is_met_to_the_byte_but_for_one_network() -> None:
    rows = [r for r in reproduce().rows if "uTensor" in r.what and r.unit == "RAM bytes"]
    assert len(rows) == 2 * len(FILTERS)
    off = [row for row in rows if row.published != row.predicted]
    assert [(row.table, row.what) for row in off] == [("Table 3", "Conv-96 uTensor")]


def test_published_times_are_close_and_inside_the_intervals() -> None:
    """No row of uTensor is in any fit."""
    rows = [r for r in reproduce().rows if "uTensor" in r.what and r.unit == "ms"]
    assert all(abs(row.error or 0.0) < 0.2 and row.holds for row in rows)
    assert not any(row.seen for row in rows)


def test_the_measured_network_is_not_the_one_that_was_trained() -> None:
    """The estimate says that the convolution's outputs are not the network's."""
    estimate = mcusim.estimate(
        utensor_network("cifar10", 16), mcusim.load_board("nrf52840-dk"), "utensor", "gcc-Os"
    )
    assert any("without zero point, bias or scale" in warning for warning in estimate.warnings)
