"""Runtimes whose kernels are not published: measured factors over CMSIS-NN, one a family and board.

They are priced only. Nothing is known of their bits, their memory, or their instructions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mcusim.errors import InputError, UnsupportedOperatorError
from mcusim.graph import DType
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE
from mcusim.resources import data_path
from mcusim.runtimes.plan import FlashPart, Plan

__all__ = [
    "BUILD",
    "ClosedRuntime",
    "check_types",
    "closed_names",
    "closed_runtime",
    "constants_part",
]

#: What an estimate calls the build of what comes compiled.
BUILD = "closed"


@dataclass(frozen=True)
class ClosedRuntime:
    """A version of a closed runtime on cores of one kind.

    Attributes:
        name: with its version, ``"x-cube-ai@9.0"``.
        compared_with: runtime and build that the factors are over.
        factors: measured time over that of ``compared_with``, by family of operators.
        on_board: the same on boards where this or another closed runtime was measured.
        networks: what a measured network takes more or less than its families.
        macs: products of each measured network, so that another one of that name is told from it.
        runs: measured runs behind them.
        boards: on which.
        half_width: of the logarithm's 90 % interval, on networks left out.
        half_width_elsewhere: the same of measured networks on boards left out.
    """

    name: str
    compared_with: tuple[str, str]
    factors: Mapping[str, float]
    on_board: Mapping[str, Mapping[str, float]]
    networks: Mapping[str, float]
    macs: Mapping[str, int]
    runs: int
    boards: tuple[str, ...]
    half_width: float
    half_width_elsewhere: float

    def on(self, board: str, network: str, macs: int) -> tuple[Mapping[str, float], float]:
        """Factors by family of a network on a board, and half the width of their 90 % interval.

        Of a measured network that is the width on a board left out, be the board measured or not.

        Args:
            board: its name.
            network: its name.
            macs: products of the network.
        """
        factors = self.on_board.get(board, self.factors)
        if network in self.networks and self.macs[network] == macs:
            own = self.networks[network]
            return {f: own * value for f, value in factors.items()}, self.half_width_elsewhere
        if board in self.boards:
            return factors, self.half_width
        return factors, math.hypot(self.half_width, self.half_width_elsewhere)

    @property
    def warning(self) -> str:
        """What a user must know."""
        library, build = self.compared_with
        return (
            f"{self.name} is closed: its times are those of {library} {build}, times a measured "
            f"factor for each family of operators ({self.runs} published runs on "
            f"{', '.join(self.boards)}); nothing is known of its kernels, memory or outputs"
        )


def closed_names() -> tuple[str, ...]:
    """Names with versions, those of one runtime together, the oldest first."""
    return tuple(f"{base}@{version}" for base, known in _runtimes().items() for version in known)


def closed_runtime(name: str, core: str) -> ClosedRuntime | None:
    """Find a closed runtime; None where the name is not that of one.

    Args:
        name: with a version, or without for the newest.
        core: the device's core, such as ``"m4"``.

    Raises:
        InputError: there is no such version, or it was not measured on a core like this one.
    """
    base, at, version = name.partition("@")
    known = _runtimes().get(base)
    if known is None:
        return None
    if not at:
        version = list(known)[-1]
    if version not in known:
        versions = ", ".join(f"{base}@{each}" for each in known)
        raise InputError(f"runtime {name!r} is not known; there are {versions}")
    simd = {"m0": "none", **SIMD_OF_CORE}.get(core.removesuffix("-soft"), "none")
    found = known[version].get(simd)
    if found is None:
        boards = sorted({board for one in known[version].values() for board in one["boards"]})
        raise InputError(
            f"runtime {name!r} is closed and was measured on {', '.join(boards)} only, whose cores "
            f"have other SIMD instructions than {core!r}"
        )
    content = _content()
    return ClosedRuntime(
        f"{base}@{version}",
        (content["compared_with"][0], content["compared_with"][1]),
        found["factors"],
        found["on_board"],
        found["networks"],
        content["macs"],
        found["runs"],
        tuple(found["boards"]),
        content["intervals"]["network"]["half_width"],
        content["intervals"]["board"]["half_width"],
    )


def check_types(plan: Plan, closed: ClosedRuntime) -> None:
    """Refuse networks of types that the factors were not measured with.

    The submissions of float32 networks that are known lie outside of what int8 factors give.

    Args:
        plan: the model under the runtime that the factors are over.
        closed: the runtime.

    Raises:
        UnsupportedOperatorError: a convolution or a dense layer that does not compute in int8.
    """
    for layer in plan.layers:
        node = layer.node
        if node.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        dtype = node.input(0).dtype
        if dtype is not DType.INT8:
            raise UnsupportedOperatorError(
                f"{plan.graph.name}: operator {node.index} ({node.name}): {closed.name} is closed "
                f"and was measured with int8 networks only, this one is {dtype.value}"
            )


def constants_part(plan: Plan) -> FlashPart:
    """The network's own constants: they lie in flash in some form; the program is not known."""
    held = [t for layer in plan.layers for t in layer.node.inputs if t is not None]
    size = sum(t.bytes for t in held if t.is_constant)
    return FlashPart("weights", size, "the network's constants; the closed program is not known")


def _runtimes() -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = _content()["runtimes"]
    return found


@cache
def _content() -> dict[str, Any]:
    text = data_path("calibration", "closed_runtimes.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
