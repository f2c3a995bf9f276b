"""Profentzas et al.: sizes follow from the published firmware, and times lie in their ranges."""

from __future__ import annotations

import pytest

from mcusim.experiments.profentzas import reproduce
from mcusim.experiments.profentzas_runs import FILTERS, PARAMETERS
from mcusim.experiments.reproduction import Reproduction, Row
from mcusim.zoo import build


@pytest.fixture(scope="module")
def found() -> Reproduction:
    return reproduce()


@pytest.mark.parametrize("data_set", ["mnist", "cifar10"])
def test_networks_have_the_published_parameters(data_set: str) -> None:
    """Table 2; Conv-64 on CIFAR-10 is printed with one parameter more than it can have."""
    for filters, (published, _) in zip(FILTERS, PARAMETERS[data_set], strict=True):
        graph = build(f"conv-{filters}-{data_set}:float32")
        held = sum(
            t.elements for t in graph.main.tensors if t.is_constant and t.dtype.value == "float32"
        )
        assert published - held in (0, 1)


def _row(found: Reproduction, table: str, what: str, unit: str) -> Row:
    return next(r for r in found.rows_of(table) if (r.what, r.unit) == (what, unit))


@pytest.mark.parametrize("filters", [16, 32, 64])
def test_cmsis_nn_takes_what_the_published_elf_says_of_other_networks(
    found: Reproduction, filters: int
) -> None:
    """No row of it is fitted: program and variables are those of the ELF for Conv-32."""
    for unit in ("RAM bytes", "flash bytes"):
        row = _row(found, "Table 3", f"Conv-{filters} CMSIS-NN", unit)
        assert row.error == pytest.approx(0, abs=0.005)


def test_flash_that_is_smaller_than_its_weights_is_told(found: Reproduction) -> None:
    told = [row for row in found.rows if "less than its weights" in row.note]
    assert len(told) == 3
    for row in told:
        weights = int(row.note.rpartition(" bytes")[0].rpartition(" ")[2].replace(",", ""))
        assert row.published is not None
        assert row.published < weights


def test_every_time_of_utensor_lies_between_cache_on_and_off(found: Reproduction) -> None:
    rows = [r for r in found.rows if "uTensor" in r.what and r.unit == "ms"]
    assert len(rows) == 10
    assert all(row.holds for row in rows)


def test_conclusions(found: Reproduction) -> None:
    verdicts = {claim.text: claim.confirmed for claim in found.claims}
    assert verdicts["CMSIS-NN is fastest, followed by TF-Micro and then uTensor"] is True
    assert verdicts["CMSIS-NN's lead is what the DSP instructions of the core give"] is False


def test_without_byte_copies_kernels_are_several_times_as_fast(found: Reproduction) -> None:
    """4.5 to 7.3 times fewer instructions were counted (``calibration``), each of them cheaper."""
    slow = {r.what: r.predicted for r in found.rows if r.unit == "ms" and "CMSIS-NN" in r.what}
    fast = {r.what: r.predicted for r in found.rows_of("CMSIS-NN without byte copies")}
    for filters in FILTERS:
        before, after = slow[f"Conv-{filters} CMSIS-NN"], fast[f"Conv-{filters}, cifar10"]
        assert before
        assert after
        assert 4.5 < before / after < 12
