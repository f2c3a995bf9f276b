"""dnnruntime's storage, memory plan and cost, by what the paper says of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mcusim
from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Graph, Tensor
from mcusim.kernels.dnnruntime import stored_weights
from mcusim.runtimes import flash, plan
from mcusim.runtimes.first_fit import Buffer, first_fit
from mcusim.zoo.builder import NetworkBuilder
from tests.oracles import constant, quantized


def _sparse(density: float, dtype: type[np.generic], columns: int = 1000) -> Tensor:
    random = np.random.default_rng(0)
    kept = random.random((50, columns)) < density
    return constant(kept.astype(dtype), quantized(1.0) if dtype is np.int8 else None)


@pytest.mark.parametrize(("dtype", "threshold"), [(np.int8, 1 / 3), (np.float32, 2 / 3)])
def test_compressed_rows_pay_beyond_a_sparsity(dtype: type[np.generic], threshold: float) -> None:
    """Figure 6: a plateau, then less; uint8 needs more sparsity, as an index takes two bytes."""
    dense = stored_weights(_sparse(1.0, dtype)).dense_bytes
    assert not stored_weights(_sparse(threshold + 0.02, dtype)).is_compressed
    assert stored_weights(_sparse(threshold + 0.02, dtype)).bytes == dense
    assert stored_weights(_sparse(threshold - 0.02, dtype)).is_compressed
    assert stored_weights(_sparse(0.05, dtype)).bytes < 0.2 * dense


def test_long_rows_take_wider_indices() -> None:
    short, wide = (stored_weights(_sparse(0.01, np.int8, n)) for n in (65_536, 65_537))
    assert short.compressed_bytes - 2 * 51 == 3 * short.stored
    assert wide.compressed_bytes - 2 * 51 == 5 * wide.stored


def test_the_published_example_of_compressed_rows() -> None:
    """Figure 3: seven values, as many columns, five row starts."""
    matrix = [[10, 0, 0, 0, 1], [0, 7, 0, 2, 0], [0, 0, 8, 0, 0], [14, 0, 0, 0, 6]]
    storage = stored_weights(constant(np.array(matrix, np.float32)))
    assert storage.stored == 7
    assert storage.compressed_bytes == 7 * 4 + 7 * 2 + 5 * 2


def test_first_fit_takes_the_lowest_hole() -> None:
    placed = first_fit(
        [
            Buffer("a", 0, 8, -1, 1),
            Buffer("b", 1, 16, 0, 3),
            Buffer("c", 2, 4, 2, 3),  # where a was
            Buffer("d", 3, 8, 2, 3),  # not beside c: the hole is too small
        ]
    ).placements
    assert [p.offset_bytes for p in placed] == [0, 8, 0, 24]


def test_a_float_lenet_fits_the_pico_and_not_the_arduino() -> None:
    """Table 3: pruned by elements, its activations are as large as ever; only the Pico ran it.

    The Arduino's 256 KiB also hold Mbed OS, the Pico has 264 KiB and no operating system.
    """
    balloon = plan(mcusim.load_model("deutel-lenet:float32"), "dnnruntime").memory
    assert balloon is not None
    assert 228_000 < balloon.arena_bytes < 240_000
    assert balloon.arena_bytes < mcusim.load_board("raspberry-pi-pico").ram.bytes


def test_element_pruning_leaves_the_balloon_and_shrinks_flash() -> None:
    whole = mcusim.load_model("deutel-lenet")
    pruned = _pruned(whole, 0.95)
    plans = [plan(graph, "dnnruntime") for graph in (whole, pruned)]
    assert plans[0].memory == plans[1].memory
    sizes = [sum(p.size_bytes for p in flash(found, "m0plus", "gcc-O3")) for found in plans]
    assert sizes[1] < 0.2 * sizes[0]
    kernels = {call.kernel for layer in plans[1].layers for call in layer.calls}
    assert {"dnn_crs_matvec_u8", "dnn_im2col_u8"} < kernels


def test_sparse_weights_compute_the_same() -> None:
    pruned = _pruned(mcusim.load_model("deutel-lenet"), 0.9)
    x = np.random.default_rng(0).integers(-128, 128, (3, 1, 28, 28, 1)).astype(np.int8)
    found = mcusim.run(pruned, [x], runtime="dnnruntime").outputs[0]
    wanted = mcusim.run(pruned, [x], runtime="tflm").outputs[0]
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


def test_an_operator_that_the_paper_does_not_name_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"DEPTHWISE_CONV_2D.*dnnruntime"):
        plan(mcusim.load_model("ds-cnn"), "dnnruntime")


def test_an_estimate_has_time_energy_ram_and_flash() -> None:
    estimate = mcusim.estimate(
        mcusim.load_model("deutel-lenet"), mcusim.load_board("raspberry-pi-pico"), "dnnruntime"
    )
    low, high = estimate.latency_interval_s
    assert low < estimate.latency_s < high
    assert estimate.energy_j > 0
    assert estimate.ram_bytes is not None
    assert estimate.flash_bytes > 1_199_882
    assert all(layer.is_exact for layer in estimate.layers)


def _pruned(graph: Graph, sparsity: float) -> Graph:
    """The graph with the smallest weights of each layer set to zero."""
    main = graph.main
    tensors = list(main.tensors)
    for node in main.nodes:
        if node.name in ("CONV_2D", "FULLY_CONNECTED"):
            weights = node.input(1)
            data = np.asarray(weights.data).copy()
            data[np.abs(data.astype(int)) <= np.quantile(np.abs(data.astype(int)), sparsity)] = 0
            tensors[weights.index] = dataclasses.replace(weights, data=data)
    pruned = dataclasses.replace(main, tensors=tuple(tensors))
    return dataclasses.replace(graph, subgraphs=(pruned,))


def _spared(core: str, kept: float) -> list[float]:
    """Share of each layer's products that soft float is spared, of a float network after ReLU."""
    net = NetworkBuilder("soft", (1, 100))
    net.dense(200)
    net.dense(50)
    graph = net.graph()
    second = graph.main.nodes[1].input(1)
    data = np.asarray(second.data).copy()
    data[:, : round((1 - kept) * 200)] = 0.0
    tensors = list(graph.main.tensors)
    tensors[second.index] = dataclasses.replace(second, data=data)
    changed = dataclasses.replace(graph.main, tensors=tuple(tensors))
    graph = dataclasses.replace(graph, subgraphs=(changed,))
    shares = []
    for layer in plan(graph, "dnnruntime", core=core).layers:
        products = sum(call.trips.get("product", 0) for call in layer.calls)
        spared = sum(call.trips.get("zero_product", 0) for call in layer.calls)
        shares.append(-spared / products)
    return shares


def test_without_an_fpu_products_with_a_zero_take_less() -> None:
    """Half of what a ReLU gives is zero; zeros of dense weights count, those of sparse ones not."""
    assert _spared("m4", 1.0) == [0, 0]
    assert _spared("m0plus", 1.0) == pytest.approx([0, 0.5])
    assert _spared("m0plus", 0.8) == pytest.approx([0, 1 - 0.5 * 0.8])
    assert _spared("m0plus", 0.2) == pytest.approx([0, 0.5])
