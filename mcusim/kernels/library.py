"""A library of kernels that is none of TFLM's: a runtime of its own, with its own operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mcusim.errors import McusimError, ModelError, UnsupportedOperatorError
from mcusim.graph import Node
from mcusim.kernels.contract import BoundKernel, KernelCall, placed

__all__ = ["KernelLibrary", "LibraryKernel", "refuse"]


@dataclass(frozen=True)
class LibraryKernel:
    """One operator of a library.

    Attributes:
        check: raises :class:`~mcusim.errors.UnsupportedOperatorError` for what the library cannot
            run, in words that need not name the operator.
        bind: prepares a node that passed ``check``.
        calls: what the library calls for such a node, the one that gives it its name first; none
            for what only changes a shape.
    """

    check: Callable[[Node], None]
    bind: Callable[[Node], BoundKernel]
    calls: Callable[[Node], Sequence[KernelCall]]


@dataclass(frozen=True)
class KernelLibrary:
    """All operators of a library, by the schema's names.

    Attributes:
        name: the runtime's name.
        kernels: by operator.
    """

    name: str
    kernels: Mapping[str, LibraryKernel]

    def supports(self, operator: str) -> bool:
        """Whether the library has the operator."""
        return operator in self.kernels

    def check(self, node: Node) -> None:
        """Raise what :meth:`bind` and :meth:`calls` raise.

        Raises:
            UnsupportedOperatorError: the library cannot run the node.
            ModelError: the node makes no sense.
        """
        try:
            self.kernels[node.name].check(node)
        except McusimError as error:
            raise placed(error, node) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"operator {node.index} ({node.name}): its tensors or options make no sense to "
                f"the kernel ({error})"
            ) from error

    def bind(self, node: Node) -> BoundKernel:
        """Prepare a node.

        Raises:
            UnsupportedOperatorError: the library cannot run the node.
            ModelError: the node makes no sense.
        """
        self.check(node)
        return self.kernels[node.name].bind(node)

    def calls(self, node: Node) -> Iterator[KernelCall]:
        """What the library calls for a node.

        Raises:
            UnsupportedOperatorError: the library cannot run the node.
            ModelError: the node makes no sense.
        """
        self.check(node)
        yield from self.kernels[node.name].calls(node)


def refuse(unless: bool, why: str) -> None:
    """Raise UnsupportedOperatorError with ``why``, unless the condition holds."""
    if not unless:
        raise UnsupportedOperatorError(why)
