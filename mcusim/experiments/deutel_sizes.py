"""Figure 6 of Deutel et al.: flash and SRAM by what is left of a network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mcusim.boards import load_board
from mcusim.experiments.deutel_networks import NETWORKS, kept_widths
from mcusim.experiments.deutel_runs import ARDUINO, PICO, estimated, graphs
from mcusim.experiments.reproduction import Claim, Figure, Series
from mcusim.kernels.dnnruntime import storage

__all__ = ["flash_bytes", "size_claims", "size_figures"]

#: Shares of the parameters that are left.
_SHARES = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
_KINDS = {
    "structure, float32": (True, False),
    "structure, uint8": (False, False),
    "element, float32": (True, True),
    "element, uint8": (False, True),
}
#: Biases are 32 bits wide, quantized or not.
_BIAS_BYTES = 4


def flash_bytes(network: str, share: float, is_float: bool, is_element: bool) -> float:
    """Flash for the weights and biases of a network.

    Args:
        network: one of :data:`~mcusim.experiments.deutel_networks.NETWORKS`.
        share: of the parameters that is left.
        is_float: float32, or uint8.
        is_element: element-wise pruning, of every layer alike, or structural.
    """
    known = NETWORKS[network]
    widths = known.widths if is_element else kept_widths(network, 1 - share, 1.0)
    size = 4 if is_float else 1
    total = 0
    for inputs, outputs in known.layers(widths):
        stored = round(share * inputs * outputs) if is_element else inputs * outputs
        total += storage(outputs, inputs, stored, size).bytes + _BIAS_BYTES * outputs
    return total


def _sram_bytes(is_float: bool, is_element: bool) -> list[float]:
    """LeNet's balloon by what is left of it."""
    found = []
    for share in _SHARES:
        graph = graphs("LeNet", is_float, is_element, 1 - share)[0]
        found.append(float(estimated(graph, PICO, "dnnruntime").arena_bytes or 0))
    return found


def size_claims() -> Iterator[Claim]:
    """What the paper concludes from figure 6."""
    plateaus = {}
    for network in NETWORKS:
        for is_float in (True, False):
            sizes = [flash_bytes(network, share, is_float, True) for share in _SHARES]
            flat = [s for s, size in zip(_SHARES, sizes, strict=True) if size > 0.99 * sizes[0]]
            plateaus[network, is_float] = min(flat)
    yield Claim(
        "Element-wise pruning saves no flash until a share is pruned, and a larger one of uint8",
        all(plateaus[n, False] < plateaus[n, True] < 1.0 for n in NETWORKS),
        "; ".join(
            f"{n} stays at its size down to {plateaus[n, True]:.0%} of the weights in float32, to "
            f"{plateaus[n, False]:.0%} in uint8"
            for n in NETWORKS
        )
        + ": an index of 16 bits is kept with each weight",
    )
    ratios = {
        n: [
            flash_bytes(n, s, True, False) / (s * flash_bytes(n, 1.0, True, False)) for s in _SHARES
        ]
        for n in NETWORKS
    }
    yield Claim(
        "Structural pruning saves flash in proportion",
        all(0.8 < each < 1.25 for found in ratios.values() for each in found),
        "flash over the share that is left of the whole network's: "
        + ", ".join(f"{n} {min(r):.2f} to {max(r):.2f}" for n, r in ratios.items()),
    )
    element = _sram_bytes(False, True)
    yield Claim(
        "Element-wise pruning saves no SRAM",
        len(set(element)) == 1,
        f"LeNet takes {element[0]:,.0f} bytes at every share",
    )
    structure = _sram_bytes(False, False)
    yield Claim(
        "Structural pruning saves SRAM, not quite in proportion as memory is used again",
        all(later <= earlier for earlier, later in pairwise(structure))
        and structure[-1] > 1.25 * structure[0] * _SHARES[-1],
        f"LeNet {structure[0]:,.0f} to {structure[-1]:,.0f} bytes: "
        f"{structure[-1] / structure[0]:.0%} with {_SHARES[-1]:.0%} of the parameters",
    )


def size_figures() -> Iterator[Figure]:
    """Figure 6a of each network, with what the boards have, and figure 6b of LeNet."""
    limits = {"Pico": PICO, "Arduino": ARDUINO}
    for network in NETWORKS:
        series = [
            Series(label, _SHARES, [flash_bytes(network, s, *kind) / 1024 for s in _SHARES])
            for label, kind in _KINDS.items()
        ]
        series += [
            Series(f"{name}'s flash", _SHARES, [load_board(b).flash.bytes / 1024] * len(_SHARES))
            for name, b in limits.items()
        ]
        yield Figure(
            f"deutel-flash-{network.lower()}", f"Flash for {network}'s weights (Figure 6a)",
            "share of the parameters left", "KiB", tuple(series), logarithmic=True,
        )  # fmt: skip
    yield Figure(
        "deutel-sram", "SRAM for LeNet's activations (Figure 6b)", "share of the parameters left",
        "KiB",
        tuple(
            Series(label, _SHARES, [size / 1024 for size in _sram_bytes(*kind)])
            for label, kind in _KINDS.items()
        ),
        logarithmic=True,
    )  # fmt: skip
