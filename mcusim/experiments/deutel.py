"""Deutel et al. 2023: pruned and quantized networks under dnnruntime, on Pico, Arduino and Pi 4B.

"Energy-efficient Deployment of Deep Learning Applications on Cortex-M based Microcontrollers using
Deep Compression", MBMV 2023, arXiv:2205.10369.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from mcusim.boards import load_board
from mcusim.experiments.deutel_claims import claims
from mcusim.experiments.deutel_networks import NETWORKS
from mcusim.experiments.deutel_runs import (
    ARDUINO,
    PI_4B,
    PICO,
    Published,
    Run,
    estimated,
    graphs,
    measured,
    pi_runs,
    possible,
    slowest_pi,
    tflm_software,
)
from mcusim.experiments.deutel_sizes import size_figures
from mcusim.experiments.reproduction import Figure, Reproduction, Row, Series

__all__ = ["reproduce"]

#: Table 1: millions of parameters.
_MILLIONS = {"AlexNet": 44.7, "ResNet": 9.4, "LeNet": 1.2}
#: Accuracy of the networks that were pruned, in percent.
_BASELINES = {"AlexNet": 86.51, "ResNet": 85.97, "LeNet": 98.46}
#: Table 2: MHz, MB of flash, KB of RAM.
_TABLE_2 = {PICO: (133, 2.0, 256), ARDUINO: (64, 1.0, 256), PI_4B: (1500, None, None)}
#: Table 5: percent that TF-Micro took more in time, power and energy.
_MORE = {
    (0.982, False, ARDUINO): (-11.80, -15.51, -25.49),
    (0.982, False, PICO): (3.52, 4.24, 7.91),
    (0.996, True, ARDUINO): (136.00, 39.11, 228.29),
    (0.996, True, PICO): (28.33, 2.37, 31.37),
    (0.996, False, ARDUINO): (-13.33, 7.10, -7.22),
    (0.996, False, PICO): (-7.40, 2.71, -4.94),
}

_RANGE = "shapes of the pruned network are not published: a range over them"
_SPARSE = "which layers are sparse is not published: a range over it"
_BINARY = "; whether its kernels were those of CMSIS-NN, at -O3 or -Os, is not said"
_COARSE = (
    "onnxruntime on a Cortex-A72: a range from scalar loops on one core at 1.0 GHz to NEON on four "
    "at 1.5 GHz"
)


def reproduce() -> Reproduction:
    """Tables 1 to 5, Figure 6, and what the paper concludes from them."""
    rows = [row for run, published in measured() for row in _rows(run, published)]
    rows += [row for run, published in pi_runs() for row in _rows(run, published)]
    return Reproduction(
        "deutel",
        "Deutel et al. 2023, Energy-efficient Deployment of Deep Learning Applications on Cortex-M "
        "based Microcontrollers using Deep Compression",
        (*_described(), *rows, *_compared()),
        tuple(claims()),
        (*size_figures(), _time_figure()),
        _REMARKS,
    )


def _described() -> Iterator[Row]:
    for name, millions in _MILLIONS.items():
        network = NETWORKS[name]
        ours = network.parameters(network.widths) / 1e6
        yield Row("Table 1", f"{name}: parameters", "millions", millions, ours)
    for board, (clock_mhz, flash_mb, ram_kb) in _TABLE_2.items():
        ours_of = load_board(board)
        yield Row("Table 2", f"{board}: clock", "MHz", clock_mhz, ours_of.clock.max_hz / 1e6)
        if flash_mb is not None and ram_kb is not None:
            yield Row("Table 2", f"{board}: flash", "MB", flash_mb, ours_of.flash.bytes / 2**20)
            note = "the RP2040 has 264 KB with its scratch banks" if board == PICO else ""
            yield Row("Table 2", f"{board}: RAM", "KB", ram_kb, ours_of.ram.bytes / 1024, note=note)
    for name, percent in _BASELINES.items():
        yield Row(
            "Section 5", f"{name}: accuracy before pruning", "%", percent,
            note="of weights that are not published, on a data set that does not come with mcusim",
        )  # fmt: skip


def _rows(run: Run, published: Published) -> Iterator[Row]:
    found = possible(run)
    is_coarse = run.board == PI_4B
    # Which of two runtimes it was, or how fast onnxruntime is, is not known: a range, no number.
    middle = None if is_coarse or len(run.runtimes) > 1 else found[0]
    note = _COARSE if is_coarse else _SPARSE if run.is_element else _RANGE
    if len(run.runtimes) > 1:
        note += _BINARY
    slower = slowest_pi(run) if is_coarse else 1.0
    times = [bound for e in found for bound in e.latency_interval_s]
    energies = [bound for e in found for bound in e.energy_interval_j]
    yield Row(
        published.table, run.what, "ms", published.latency_ms,
        None if middle is None else 1e3 * middle.latency_s, 1e3 * min(times),
        1e3 * max(times) * slower, note,
    )  # fmt: skip
    power = found[0].board.power
    active_mw = 1e3 * found[0].energy_j / found[0].latency_s
    yield Row(
        f"{published.table}, power", run.what, "mW", published.power_mw, active_mw,
        active_mw * power.measured_over_predicted_low,
        active_mw * power.measured_over_predicted_high,
        "the median of the board's rows, and how far they reach", True,
    )  # fmt: skip
    yield Row(
        published.table, run.what, "mJ", published.energy_mj,
        None if middle is None else 1e3 * middle.energy_j, 1e3 * min(energies),
        1e3 * max(energies) * slower, note,
    )  # fmt: skip


def _compared() -> Iterator[Row]:
    """Percentages of table 5 as ratios, of networks of the same shapes."""
    for (compression, is_float, board), percents in _MORE.items():
        run = Run("AlexNet", is_float, False, compression, board)
        runtimes, builds = tflm_software(board)
        shapes = graphs("AlexNet", is_float, False, compression)
        times, energies = [], []
        for runtime, build in product(runtimes, builds):
            for graph in shapes:
                one, other = (estimated(graph, board, r, build) for r in (runtime, "dnnruntime"))
                times += [one.latency_s / t for t in (other.latency_s, *other.latency_interval_s)]
                energies += [one.energy_j / e for e in (other.energy_j, *other.energy_interval_j)]
        what = f"{run.what}: TF-Micro over dnnruntime"
        note = f"of networks of one shape, over the interval of dnnruntime{_BINARY}"
        if len(runtimes) == 1:
            note = note.removesuffix(_BINARY)
        for quantity, found, percent in zip(
            ("time", "power", "energy"), (times, [1.0], energies), percents, strict=True
        ):
            is_known = len(runtimes) == 1 or quantity == "power"
            low, high = (None, None) if quantity == "power" else (min(found), max(found))
            yield Row(
                "Table 5, ratios", f"{what}, {quantity}", "x", 1 + percent / 100,
                found[0] if is_known else None, low, high,
                "our power does not depend on the runtime" if quantity == "power" else note,
            )  # fmt: skip


def _time_figure() -> Figure:
    series = []
    for board, name in ((ARDUINO, "Arduino"), (PICO, "Pico")):
        for is_float, kind in ((True, "float32"), (False, "uint8")):
            pairs = [
                (published.latency_ms, 1e3 * possible(run)[0].latency_s)
                for run, published in measured()
                if run.board == board and run.is_float == is_float and published.table != "Table 5"
            ]
            series.append(Series(f"{name}, {kind}", *zip(*pairs, strict=True)))
    return Figure(
        "deutel-latency", "dnnruntime: structures pruned alike", "published ms", "predicted ms",
        tuple(series), "points", True,
    )  # fmt: skip


_REMARKS = (
    "dnnruntime is not public. Its kernels here are our own reading of sections 3.2 and 4, in C, "
    "whose instructions were counted; the interval is as wide as from that reading to the other "
    "plausible one. No time is in any fit. The power of each board is the median of its rows.",
    "The shapes of the pruned networks are not published. The predicted number is for structures "
    "pruned alike in all layers; the range reaches over networks of the same number of parameters "
    "whose first half (LeNet's and AlexNet's convolutions) keeps twice or half the share of the "
    "second, and over the interval of each.",
    "ResNet's parameters, 9,377,354, agree with the 9.4 M of Table 1 for a first convolution of 64 "
    "filters, no padding, and shortcuts of 5x5 convolutions, none of which the table prints.",
    "LeNet in uint8 on the Arduino takes 18.84 ms at 99.18 % and 18.79 ms at 99.7 %, while its "
    "float32 form there, and both on the Pico, halve from one to the other. Against the second our "
    "time is long by about a sixth, like those of all networks of that board with pruned "
    "structures (1.5 cycles for each of our instructions where 1.3 to 1.4 were published); against "
    "the first by four fifths, and the published time is 0.83 cycles for each instruction, which a "
    "Cortex-M4 cannot do. We take the two rows to be of one model.",
    "LeNet pruned by elements likewise takes 392 ms in uint8 on the Pico at 95 % and at 97 %: "
    "either the two are one model, or what is sparse does not matter there. The range holds both a "
    "network of sparse layers only and one whose convolutions are dense.",
    "float32 on the Pico is computed by a library, which returns early from products with a zero; "
    "a ReLU is taken to make half of its values zero. The C library's arithmetic was counted; the "
    "Pico's SDK replaces it by one of its own in its ROM, which is faster.",
    "The Arduino's published power is bimodal, 82 to 118 mW and 140 to 151 mW, which nothing in "
    "the paper explains; energies there are off by as much.",
    "The Pi 4B is a computer with Linux: its board file is coarse and says so. Its ranges hold the "
    "published times and tell little more; calls of onnxruntime and of Linux, which dominate the "
    "smallest networks, are in none of them.",
    "How TF-Micro was compiled for the Arduino is not said. With the kernels of CMSIS-NN at -Os, "
    "as the Arduino IDE builds the library, our times of the two quantized AlexNets are within "
    "a tenth of the published ones; its float32 kernels take twice the published time at -Os and "
    "half of it at -O3.",
)
