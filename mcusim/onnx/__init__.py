"""ONNX files, as far as the networks need them that dnnruntime is published with.

The ``onnx`` package reads the file: ``pip install 'mcusim[onnx]'``.
"""

from mcusim.onnx.reader import load

__all__ = ["load"]
