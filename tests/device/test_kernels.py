"""The device kernels in C compute what mcusim's kernels compute, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Graph
from tests.device.host import COMPILER, run_on_host
from tests.device.layers import (
    additions,
    convolutions,
    dense,
    expected,
    poolings,
    prepared,
    softmaxes,
)
from tests.device.thumb import CORES, firmware

ANY_LAYER = st.one_of(convolutions(), convolutions(), dense(), poolings(), additions(), softmaxes())
SEED = st.integers(0, 1 << 30)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@settings(max_examples=300)
@given(graph=ANY_LAYER, seed=SEED)
def test_plain_c_on_the_host(graph: Graph, seed: int) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    np.testing.assert_array_equal(run_on_host(layer, inputs, wanted.size), wanted)


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=200)
@given(graph=ANY_LAYER, seed=SEED)
def test_shipped_firmware_in_unicorn(core: str, graph: Graph, seed: int) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    np.testing.assert_array_equal(firmware(core).run(layer, inputs, wanted.size), wanted)
