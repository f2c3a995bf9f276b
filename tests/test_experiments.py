"""Published experiments: pages are current, and what they say of themselves is so."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mcusim
from mcusim import cli
from mcusim.errors import InputError
from mcusim.experiments import Figure, Reproduction, Row, Series, names, reproduce
from mcusim.experiments.pages import page
from mcusim.experiments.plots import plot_svg
from mcusim.verify.classification import scores
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import activation_ranges, quantized

DOCS = Path(__file__).parents[1] / "docs" / "experiments"


@pytest.mark.parametrize("name", names())
def test_the_page_is_what_the_code_says(name):
    """Else: python -m mcusim.experiments.pages --write."""
    found = reproduce(name)
    assert (DOCS / f"{name}.md").read_text("utf-8") == page(found)
    for figure in found.figures:
        assert (DOCS / "plots" / f"{figure.name}.svg").is_file()


def test_the_operations_of_heim_are_counted_as_published():
    rows = {row.what: row for row in reproduce("heim").rows}
    for model in ("lenet-5", "resnet-20"):
        row = rows[f"{model}: operations"]
        assert row.predicted == row.published


def test_errors_weigh_factors_alike():
    def mean(*pairs: tuple[float, float]) -> float | None:
        rows = tuple(Row("t", "", "ms", *pair) for pair in pairs)
        return Reproduction("n", "", rows, ()).mean_absolute_error("t")

    assert mean((1, 2)) == mean((2, 1)) == pytest.approx(1.0)
    assert mean((1, 1), (1, 1)) == 0
    assert Reproduction("n", "", (Row("t", "", "ms", None),), ()).mean_absolute_error("t") is None


def test_an_interval_that_misses_is_marked():
    row = Row("t", "a | b", "ms", 10.0, 5.0, 4.0, 6.0)
    text = page(Reproduction("n", "Title", (row,), ()))
    assert row.holds is False
    assert "outside" in text
    assert r"a \| b" in text


def test_a_plot_is_the_same_each_time():
    figure = Figure("f", "Title", "x", "y", (Series("s", [1, 2], [3, 4]),), "bars")
    assert plot_svg(figure) == plot_svg(figure)


def test_reproduce_prints_verdicts_and_saves_plots(tmp_path, capsys):
    assert cli._run(["reproduce", "heim", "--plots", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "NOT CONFIRMED" in out
    assert "seen by the fit" in out
    assert len(list(tmp_path.glob("*.svg"))) == len(reproduce("heim").figures)
    assert cli._run(["reproduce", "hiem"]) == 2
    assert "did you mean 'heim'" in capsys.readouterr().err
    with pytest.raises(InputError):
        reproduce("nothing")


def test_plots_without_matplotlib_are_refused_before_anything_is_printed(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli._run(["reproduce", "heim", "--plots", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "mcusim[plots]" in said.err
    assert said.out == ""


def test_every_plot_of_the_pages_is_one_of_an_experiment():
    drawn = {f"{figure.name}.svg" for name in names() for figure in reproduce(name).figures}
    assert {path.name for path in (DOCS / "plots").iterdir()} == drawn


def test_a_trained_network_keeps_its_accuracy_through_quantization():
    """Digits of scikit-learn stand in for MNIST: 8x8 pixels, 10 classes (Heim, tables 5.5, 5.7)."""
    datasets = pytest.importorskip("sklearn.datasets")
    neural_network = pytest.importorskip("sklearn.neural_network")
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    train, test = slice(0, 1200), slice(1200, None)
    trained = neural_network.MLPClassifier((32,), max_iter=60, random_state=0, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        trained.fit(images[train], labels[train])
    network = NetworkBuilder("digits", (1, 64))
    network.dense(32)
    network.dense(10, activation="NONE")
    network.softmax()
    exact = network.graph()
    layers = [n for n in exact.main.nodes if n.name == "FULLY_CONNECTED"]
    tensors = list(exact.main.tensors)
    for node, weights, bias in zip(layers, trained.coefs_, trained.intercepts_, strict=True):
        for tensor, values in ((node.input(1), weights.T), (node.input(2), bias)):
            data = np.ascontiguousarray(values, np.float32)
            tensors[tensor.index] = replace(tensor, data=data)
    exact = replace(exact, subgraphs=(replace(exact.main, tensors=tuple(tensors)),))
    graph = quantized(exact, activation_ranges(exact, [x[np.newaxis] for x in images[:200]]))
    inputs = [images[test][:, np.newaxis]]
    ways = [
        ("float", exact, "tflm"),
        ("tflm", graph, "tflm"),
        ("cmsis-nn", graph, "cmsis-nn"),
    ]
    totals = dict.fromkeys(("float", "tflm", "cmsis-nn"), 0)
    for score in scores(ways, inputs, labels[test], processes=1):
        totals[score.way] += score.correct
    count = len(labels[test])
    assert totals["float"] / count == pytest.approx(
        trained.score(images[test], labels[test]), abs=1e-9
    )
    assert abs(totals["float"] - totals["tflm"]) / count < 0.02
    assert totals["tflm"] == totals["cmsis-nn"]
    assert mcusim.estimate(graph, mcusim.load_board("nucleo-l496zg")).latency_s > 0
