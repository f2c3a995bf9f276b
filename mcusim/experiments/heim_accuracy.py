"""Accuracies in Heim et al., tables 5.5 to 5.7, and those of a stand-in for their data sets.

Published accuracies are of weights trained on MNIST and CIFAR-10, which do not come with mcusim. A
small convolutional network trained on scikit-learn's digits stands in: ``tests/experiments`` trains
it anew and holds these numbers against what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.experiments.reproduction import Claim, Row

__all__ = ["DIGITS", "IMAGES", "WAYS", "accuracy_claims", "accuracy_rows"]

#: Accuracy in percent and cross-entropy on the host (tables 5.5, 5.6): float, mixed, int8.
_HOST = {
    "Table 5.5": ("LeNet", ((98.79, 0.041262), (98.77, 0.041296), (98.74, 0.047195))),
    "Table 5.6": ("ResNet", ((91.85, 0.31073), (91.67, 0.31606), (91.79, 0.40206))),
}
#: The same of LeNet on the L4 (table 5.7): without CMSIS-NN and with it.
_DEVICE = {
    "float32": ((98.79, 0.04126), (98.79, 0.04126)),
    "mixed": ((10.03, 2.38636), (10.03, 2.38636)),
    "int8": ((98.74, 0.04719), (98.76, 0.04717)),
}
_KINDS = ("float32", "mixed", "int8")

#: How the stand-in is run: what it computes in, and its runtime.
WAYS = {
    "float32, TFLM": ("float32", "tflm"),
    "int8, TFLM": ("int8", "tflm"),
    "int8, CMSIS-NN of 2020": ("int8", "cmsis-nn@2020"),
    "int8, CMSIS-NN of 2026": ("int8", "cmsis-nn"),
}
#: Images tested, and of each way correct answers and mean cross-entropy.
IMAGES = 597
DIGITS = {
    "float32, TFLM": (553, 0.2782),
    "int8, TFLM": (555, 0.27566),
    "int8, CMSIS-NN of 2020": (555, 0.27672),
    "int8, CMSIS-NN of 2026": (555, 0.27566),
}

_WEIGHTS = "of weights trained on a data set that does not come with mcusim: see the stand-in"
_STAND_IN = "Digits in place of MNIST"


def accuracy_rows() -> Iterator[Row]:
    """Published accuracies, which are not predicted, and those of the stand-in."""
    for table, (network, published) in _HOST.items():
        for kind, (accuracy, loss) in zip(_KINDS, published, strict=True):
            yield Row(table, f"{network}, {kind}: accuracy", "%", accuracy, note=_WEIGHTS)
            yield Row(table, f"{network}, {kind}: loss", "nats", loss, note=_WEIGHTS)
    for kind, pair in _DEVICE.items():
        note = "TFLM refuses this model: see the conclusions" if kind == "mixed" else _WEIGHTS
        for kernels, (accuracy, loss) in zip(("TFLM", "CMSIS-NN"), pair, strict=True):
            what = f"LeNet, {kind}, {kernels}"
            yield Row("Table 5.7", f"{what}: accuracy", "%", accuracy, note=note)
            yield Row("Table 5.7", f"{what}: loss", "nats", loss, note=note)
    for way, (correct, loss) in DIGITS.items():
        note = f"{correct} of {IMAGES} images; not of the paper"
        yield Row(_STAND_IN, f"{way}: accuracy", "%", None, 100 * correct / IMAGES, note=note)
        yield Row(_STAND_IN, f"{way}: loss", "nats", None, loss, note=note)


def accuracy_claims() -> Iterator[Claim]:
    """What the paper concludes of accuracy, on the stand-in."""
    exact, whole, old, new = (DIGITS[way] for way in WAYS)
    lost = 100 * (exact[0] - whole[0]) / IMAGES
    yield Claim(
        "Quantization to int8 costs little accuracy (LeNet 0.05 %, ResNet 0.06 %)",
        abs(lost) < 1,
        f"on the stand-in {exact[0]} of {IMAGES} images are right in float32 and {whole[0]} in "
        f"int8, {lost:+.2f} percentage points of loss",
    )
    yield Claim(
        "CMSIS-NN alters the results slightly (0.02 %, loss 0.04717 in place of 0.04719), by "
        "other arithmetic",
        old != whole and abs(old[0] - whole[0]) / IMAGES < 0.01,
        f"on the stand-in {whole[0]} images are right with TFLM's kernels and {old[0]} with "
        f"CMSIS-NN of 2020, at a loss of {whole[1]:.5f} and {old[1]:.5f}: average pooling and "
        f"softmax round otherwise; CMSIS-NN of 2026 {'is' if new == whole else 'is not'} the same "
        "as TFLM",
    )
