"""What memory each kernel of TFLite Micro asks for while the model is prepared.

``Init`` allocates a structure for the operator; ``Prepare`` may allocate more that persists, and
request scratch buffers. Where TFLM is built with CMSIS-NN, its kernels replace some of the
reference ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.graph import Node
from mcusim.runtimes import cmsis_nn_requests, reference_requests
from mcusim.runtimes.abi import Struct
from mcusim.runtimes.kernel_requests import Request, Target
from mcusim.runtimes.tflm_structs import OP_DATA, OP_DATA_CMSIS_NN

__all__ = ["op_data", "requests"]


def op_data(operator: str, target: Target) -> Struct | None:
    """The structure that ``Init`` of the operator allocates; None when there is none."""
    if target.cmsis_nn and operator in OP_DATA_CMSIS_NN:
        return OP_DATA_CMSIS_NN[operator]
    return OP_DATA.get(operator)


def requests(node: Node, target: Target) -> Iterator[Request]:
    """What ``Prepare`` of the node asks for, in order.

    Raises:
        IndexError, ValueError: a tensor has another number of dimensions than the kernel needs.
        ZeroDivisionError: a stride is 0.
    """
    prepare = cmsis_nn_requests.PREPARE.get(node.name) if target.cmsis_nn else None
    prepare = prepare or reference_requests.PREPARE.get(node.name)
    return iter(()) if prepare is None else prepare(node, target)
