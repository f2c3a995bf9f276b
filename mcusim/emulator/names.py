"""Names of C++ functions as people write them."""

from __future__ import annotations

import re

__all__ = ["plain_name"]

_LENGTH = re.compile(r"\d+")
_UNNAMED = "_GLOBAL__N_1"


def plain_name(symbol: str) -> str:
    """The qualified name within a mangled one, without parameters: ``tflite::reference::Add``.

    What is no mangled name, or has parts that only a full demangler reads, stays as it is.

    >>> plain_name("_ZN6tflite12_GLOBAL__N_18ConvEvalEP13TfLiteContextP10TfLiteNode")
    'tflite::ConvEval'
    >>> plain_name("arm_convolve_s8")
    'arm_convolve_s8'

    Source: Itanium C++ ABI, section 5.1.
    """
    if not symbol.startswith("_Z"):
        return symbol
    at = 2
    nested = symbol[at : at + 1] == "N"
    if nested:
        at += 1
        while symbol[at : at + 1] in ("K", "V", "r"):
            at += 1
    parts: list[str] = []
    while length := _LENGTH.match(symbol, at):
        size = int(length[0])
        at = length.end() + size
        part = symbol[length.end() : at]
        if len(part) < size:
            return symbol
        if part != _UNNAMED:
            parts.append(part)
        if not nested:
            break
        if symbol[at : at + 1] == "L":
            at += 1
    if not parts:
        return symbol
    if nested and symbol[at : at + 2] in ("C1", "C2", "D0", "D1", "D2"):
        parts.append(("~" if symbol[at] == "D" else "") + parts[-1])
    return "::".join(parts)
