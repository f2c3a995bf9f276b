"""What comparing the bits of a model found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mcusim.verify.ways import Way

__all__ = ["SCHEMA", "Difference", "Verification"]

#: Name and version of what :meth:`Verification.to_dict` returns.
SCHEMA = "mcusim/verification/1"


@dataclass(frozen=True)
class Difference:
    """An operator that computes other bits from the same inputs, and its first such element.

    Attributes:
        index: position of the operator in the main subgraph.
        operator: the schema's name.
        tensor: name of the output.
        elements: elements of it over all inferences.
        differing: how many of them this operator makes different by itself.
        largest: largest difference among these.
        inference: the inference of the first one.
        element: its index in the tensor.
        value: what the runtime under test computes there.
        other: what the other runtime computes.
        kernel: function that computes it under test.
        other_kernel: function of the other runtime.
        way: how the runtime under test comes to its value; None where that is not known.
        other_way: how the other runtime comes to its value.
        warnings: what is known to go wrong in either function.
    """

    index: int
    operator: str
    tensor: str
    elements: int
    differing: int
    largest: float
    inference: int
    element: tuple[int, ...]
    value: float
    other: float
    kernel: str
    other_kernel: str
    way: Way | None
    other_way: Way | None
    warnings: tuple[str, ...]

    @property
    def why(self) -> str:
        """The step that makes the difference, in words."""
        if self.way is None or self.other_way is None:
            known = "; ".join(self.warnings)
            return known or "no known order of sums and roundings gives both values"
        if self.way.accumulator != self.other_way.accumulator:
            return (
                f"other sums: {self.way.sums or 'as the operator asks'}, against "
                f"{self.other_way.sums or 'as the operator asks'}"
            )
        return f"the same sum, {self.way.step}, against {self.other_way.step}"


@dataclass(frozen=True)
class Verification:
    """What comparing two runtimes found.

    Attributes:
        model: name of the model.
        runtime: the runtime under test.
        against: the other one.
        inferences: how many inputs were run.
        operators: operators of the main subgraph.
        differences: operators that differ from the same inputs, in order.
        carried: indices of operators that differ only because their inputs do.
        outputs_equal: whether the model's outputs are equal.
    """

    model: str
    runtime: str
    against: str
    inferences: int
    operators: int
    differences: tuple[Difference, ...]
    carried: tuple[int, ...]
    outputs_equal: bool

    @property
    def equal(self) -> bool:
        """Whether every tensor has the same bits under both."""
        return not self.differences and not self.carried

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "runtime": self.runtime,
            "against": self.against,
            "inferences": self.inferences,
            "operators": self.operators,
            "equal": self.equal,
            "outputs_equal": self.outputs_equal,
            "carried": list(self.carried),
            "differences": [_difference_dict(d) for d in self.differences],
        }


def _difference_dict(difference: Difference) -> dict[str, Any]:
    fields = vars(difference) | {"element": list(difference.element), "why": difference.why}
    for name in ("way", "other_way"):
        fields[name] = fields[name] and vars(fields[name])
    for name in ("value", "other", "largest"):
        # JSON has neither infinities nor NaN.
        if not math.isfinite(fields[name]):
            fields[name] = str(fields[name])
    return fields | {"warnings": list(difference.warnings)}
