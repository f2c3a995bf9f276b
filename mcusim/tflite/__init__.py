"""Reads and writes ``.tflite`` files: :class:`~mcusim.graph.Graph` in, Graph out."""

from mcusim.tflite.reader import load, read
from mcusim.tflite.writer import write

__all__ = ["load", "read", "write"]
