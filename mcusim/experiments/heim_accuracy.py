"""Accuracies in Heim et al., tables 5.5 to 5.7, and those of a stand-in for their data sets.

Published accuracies are of weights trained on MNIST and CIFAR-10, which do not come with mcusim.
Scikit-learn's digits stand in, for a small convolutional network trained on them and for the
authors' own LeNet: ``tests/experiments`` trains and runs them anew and holds these numbers against
what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.experiments.reproduction import Claim, Row

__all__ = [
    "ALL_IMAGES",
    "DIGITS",
    "IMAGES",
    "PUBLISHED_LENET",
    "WAYS",
    "accuracy_claims",
    "accuracy_rows",
]

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
#: Percentage points of accuracy that are little.
_LITTLE = 1.0
#: Images tested, and of each way correct answers and mean cross-entropy.
IMAGES = 597
DIGITS = {
    "float32, TFLM": (553, 0.2782),
    "int8, TFLM": (555, 0.27566),
    "int8, CMSIS-NN of 2020": (555, 0.27672),
    "int8, CMSIS-NN of 2026": (555, 0.27566),
}

#: The same of the authors' LeNet (github.com/lheim/TFLM-Toolchain), trained on MNIST, on all digits
#: enlarged to 20x20 pixels in the middle of 32x32.
ALL_IMAGES = 1797
PUBLISHED_LENET = {
    "float32, TFLM": (1332, 1.0855),
    "int8, TFLM": (1323, 1.0811),
    "int8, CMSIS-NN of 2020": (1318, 1.1036),
    "int8, CMSIS-NN of 2026": (1323, 1.0811),
}

_WEIGHTS = "of weights trained on a data set that does not come with mcusim: see the stand-in"
_STAND_IN = "Digits in place of MNIST"
_BLURRED = (
    "the authors' LeNet on digits of 8x8 pixels, enlarged: blurred ones it was not trained on"
)


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
    own = "a network trained on digits, not of the paper"
    for found, count, network, note in (
        (DIGITS, IMAGES, "trained", own),
        (PUBLISHED_LENET, ALL_IMAGES, "LeNet", _BLURRED),
    ):
        for way, (correct, loss) in found.items():
            what = f"{network}, {way}"
            yield Row(_STAND_IN, f"{what}: accuracy", "%", None, 100 * correct / count, note=note)
            yield Row(_STAND_IN, f"{what}: loss", "nats", None, loss, note=note)


def accuracy_claims() -> Iterator[Claim]:
    """What the paper concludes of accuracy, on the stand-in."""
    lost, moved, told = [], [], []
    for found, count in ((DIGITS, IMAGES), (PUBLISHED_LENET, ALL_IMAGES)):
        exact, whole, old, new = (found[way] for way in WAYS)
        lost.append(100 * (exact[0] - whole[0]) / count)
        moved.append(100 * (old[0] - whole[0]) / count)
        told.append((exact, whole, old, new, count))
    yield Claim(
        "Quantization to int8 costs little accuracy (LeNet 0.05 %, ResNet 0.06 %)",
        max(map(abs, lost)) < _LITTLE,
        "on digits, right in float32 and in int8: "
        + "; ".join(f"{e[0]} and {w[0]} of {count}" for e, w, _, _, count in told)
        + f", {', '.join(f'{x:+.2f}' for x in lost)} percentage points lost",
    )
    yield Claim(
        "CMSIS-NN alters the results slightly and either way (0.02 %, loss 0.04717 in place of "
        "0.04719), by other arithmetic",
        all(old != whole for _, whole, old, _, _ in told) and max(map(abs, moved)) < _LITTLE,
        "on digits, right with TFLM's kernels and with CMSIS-NN of 2020: "
        + "; ".join(
            f"{w[0]} and {o[0]} of {count}, loss {w[1]:.4f} and {o[1]:.4f}"
            for _, w, o, _, count in told
        )
        + ": average pooling and softmax round otherwise; CMSIS-NN of 2026 "
        + ("is" if all(n == w for _, w, _, n, _ in told) else "is not")
        + " the same as TFLM",
    )
