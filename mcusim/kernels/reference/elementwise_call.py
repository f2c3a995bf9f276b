"""Loop trip counts of the elementwise kernels."""

from __future__ import annotations

from mcusim.graph import Node
from mcusim.kernels.contract import KernelCall

__all__ = [
    "binary_call",
    "converting_call",
    "plain_call",
    "saturating_call",
    "select_call",
    "signed_call",
    "unary_call",
]


def plain_call(node: Node) -> KernelCall:
    dtype = node.output().dtype.value
    return KernelCall(
        kernel=node.name.title(),
        profile=f"reference/{node.name.lower()}_{dtype}",
        trips={"call": 1, "element": node.output().elements},
    )


binary_call = converting_call = saturating_call = select_call = signed_call = unary_call = (
    plain_call
)
