"""Functions for C to call: words and functions at an address, and what LLVM makes of a module."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types as numba_types
from numba.extending import intrinsic

__all__ = ["NativeFunction", "address_of", "call_at", "words_at"]

types: Any = numba_types


class NativeFunction:
    """A function of a module, compiled for this computer.

    Attributes:
        address: where it begins; it stays there as long as this object.
    """

    def __init__(self, module: ir.Module, name: str) -> None:
        """Compile a module, and find one of its functions."""
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_default_triple().create_target_machine(opt=3)
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(name)


def _words_intrinsic(typing_context: Any, address: Any) -> Any:
    """The int64 words that begin at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


def _address_intrinsic(typing_context: Any, words: Any) -> Any:
    """The address at which words begin."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(arguments[0], ir.IntType(64))

    return types.int64(types.CPointer(types.int64)), generate


def _call_intrinsic(
    typing_context: Any, function: Any, first: Any, second: Any, third: Any, fourth: Any
) -> Any:
    """Call the C function at an address with four 64-bit arguments."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), (word,) * 4)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 5), generate


words_at: Any = intrinsic(_words_intrinsic)
address_of: Any = intrinsic(_address_intrinsic)
call_at: Any = intrinsic(_call_intrinsic)
