"""Svoboda et al. and MLPerf Tiny: codes, working sets and cards by hand; rows against files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from mcusim import zoo
from mcusim.experiments import reproduce
from mcusim.experiments.code_book import code_book, code_lengths, q_format
from mcusim.experiments.svoboda_formats import BITS_OF_TRAINED, CLUSTERS, book_bits
from mcusim.experiments.svoboda_layers import layers, network, spills
from mcusim.experiments.svoboda_storage import Card
from mcusim.kernels.profile import load_profile
from mcusim.resources import data_path
from mcusim.tflite import load
from tests.shared import needs_shared, shared_models

COMPILER = shutil.which("arm-none-eabi-gcc")


def test_huffman_codes_of_known_counts():
    """Fibonacci counts give the longest codes there are; equal counts the shortest."""
    assert code_lengths([1, 1, 2, 3, 5]) == [4, 4, 3, 2, 1]
    assert code_lengths([7] * 8) == [3] * 8
    assert code_lengths([9]) == [1]


def test_codes_are_complete_and_near_the_entropy():
    weights = np.clip(np.random.default_rng(1).normal(0, 25, 5000), -128, 127).astype(np.int8)
    _, book = code_book(weights, 32)
    assert sum(2.0**-book.lengths) == 1
    shares = book.counts / book.weights
    entropy = -(shares * np.log2(shares)).sum()
    assert entropy <= book.code_bits / book.weights < entropy + 1


def test_what_is_packed_is_found_again():
    weights = np.random.default_rng(2).integers(-40, 40, (3, 50)).astype(np.int8)
    clustered, book = code_book(weights, 8)
    bits = "".join(f"{byte:08b}" for byte in book.packed(clustered))
    values = {
        f"{code:0{length}b}": value
        for code, length, value in zip(book.codes, book.lengths, book.values, strict=True)
    }
    found, code = [], ""
    for bit in bits[: book.code_bits]:
        code += bit
        if code in values:
            found.append(values[code])
            code = ""
    assert not code
    np.testing.assert_array_equal(found, clustered.ravel())


def test_a_cluster_for_each_value_changes_nothing_and_two_take_one_bit():
    weights = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(code_book(weights, 256)[0], weights)
    halves, book = code_book(np.array([-100, -98, 50, 54], np.int8), 2)
    assert halves.tolist() == [-99, -99, 52, 52]
    assert book.code_bits == 4


def test_q_format_leaves_as_many_bits_to_the_fraction_as_the_largest_weight():
    assert q_format(np.array([0.5, -1.0])) == (pytest.approx(np.array([64, -128])), 7)
    assert q_format(np.array([1.5, 0.25]))[1] == 6
    assert q_format(np.array([0.1]))[1] == 10


@needs_shared
def test_bits_of_trained_networks_are_those_stated():
    found = {clusters: [] for clusters in CLUSTERS}
    for path in shared_models():
        tensors = [q_format(weights)[0] for weights in _weights(path)]
        for clusters in CLUSTERS if tensors else ():
            bits = book_bits(tuple(code_book(t, clusters)[1] for t in tensors))
            found[clusters].append(bits)
    for clusters, ends in BITS_OF_TRAINED.items():
        assert (min(found[clusters]), max(found[clusters])) == pytest.approx(ends, abs=0.01)


def _weights(path: Path) -> list[np.ndarray]:
    found = []
    for node in load(path).main.nodes:
        if node.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            tensor = node.input(1)
            weights = np.asarray(tensor.data, np.float64)
            if tensor.quantization is not None and tensor.quantization.scales.size:
                shape = [1] * weights.ndim
                if tensor.quantization.scales.size > 1:
                    shape[tensor.quantization.axis] = -1
                weights = weights * tensor.quantization.scales.reshape(shape).astype(np.float64)
            found.append(weights)
    return found


def test_the_network_without_more_filters_is_that_of_the_zoo():
    ours, theirs = network().main.nodes, zoo.build("mobilenet-v2-0.35-128").main.nodes
    assert [(n.name, n.output().shape) for n in ours] == [
        (n.name, n.output().shape) for n in theirs
    ]


def test_working_sets_by_hand():
    sixth = layers()[5]
    assert (sixth.kind, sixth.inputs, sixth.outputs) == ("pad", 64 * 64 * 48, 65 * 65 * 48)
    fourth = layers(32)[3]
    assert fourth.weights == 48 * 40 + 4 * 40
    assert fourth.macs == 64 * 64 * 48 * 40
    assert fourth.im2col == 2 * 2 * 48


def test_a_layer_whose_input_was_spilled_reads_it_and_may_keep_its_output():
    first, second, third = layers(32)[2:5]
    moved = spills((first, second, third), 300 * 1024)
    assert [(s.number, s.written, s.read) for s in moved] == [
        (3, first.outputs, 0),
        (4, 0, second.inputs),
        (5, third.outputs, 0),
    ]


def test_a_card_moves_whole_blocks():
    card = Card()
    assert card.read_s(1, 1e6) == card.read_s(512, 1e6)
    assert card.read_s(1024, 1e6).low == pytest.approx(2 * (8 * 524 / 1e6 + 1e-4))


def test_a_product_takes_what_its_instructions_say():
    """As disassembled: two loads, a product, compare and branch; affine, one sum more."""
    turns = {}
    for name in ("q7_products", "affine_products"):
        profile = load_profile(f"weight_formats/{name}")
        assert profile is not None
        build = profile.builds["m7.gcc-O3"]
        turns[name] = build.mix({level: float(level == "product") for level in build.levels})
    assert turns["q7_products"].total == pytest.approx(5, abs=0.1)
    assert turns["affine_products"].total == pytest.approx(6, abs=0.1)


@pytest.mark.skipif(COMPILER is None, reason="needs arm-none-eabi-gcc")
def test_counts_are_those_stored(tmp_path, monkeypatch):
    pytest.importorskip("unicorn")
    from mcusim.calibration import weight_format_counts

    monkeypatch.setattr(weight_format_counts, "_SHAPES", ((1, 1, 9),))
    monkeypatch.setattr(weight_format_counts, "_TENSORS", ())
    stored = load_profile("weight_formats/q7_products")
    assert stored is not None
    for kernel, core, build, _, turns, counts in weight_format_counts.counted_rows("m7", tmp_path):
        if kernel == "q7_products":
            predicted = stored.builds[f"{core}.{build}"].mix(turns)["load_byte"]
            assert counts["load_byte"] == pytest.approx(predicted, rel=0.05)


def test_every_submission_stands_once():
    path = data_path("calibration", "measured", "mlperf_tiny.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = reproduce("mlperf-tiny")
    times = [row for row in found.rows if row.unit == "ms"]
    assert len(times) == len(rows) + 8
    seen = sum(row["status"] in ("known", "closed", "repeat") for row in rows)
    assert sum(row.seen for row in times) == seen
    for row in times:
        assert (row.predicted is None) == (row.table == "Not predicted")
        assert row.note


def test_rows_without_a_prediction_say_why():
    for row in reproduce("svoboda").rows:
        if row.predicted is None and row.low is None:
            assert row.note, row.what
