"""Models by path, by name out of the zoo, or described in a line."""

from __future__ import annotations

from pathlib import Path

from mcusim.graph import Graph

__all__ = ["is_path", "load_model"]


def load_model(model: str | Path) -> Graph:
    """Load a model.

    Args:
        model: path of a ``.tflite`` or ``.onnx`` file, or the name of a network of the zoo, such as
            ``"ds-cnn"``, or a network in a line, such as ``"49x10x1 c64k10x4s2 a f12 softmax"``
            (see :mod:`mcusim.zoo.description`), which is untrained. What looks like a path is one:
            it has a separator or such an ending.

    Returns:
        The model.

    Raises:
        ModelError: there is none, or the file is damaged; names the file and the place in it.
    """
    text = str(model)
    if isinstance(model, Path) or is_path(text):
        return _load(Path(model))
    from mcusim import zoo

    return zoo.described(text) if zoo.is_description(text) else zoo.build(text)


def is_path(text: str) -> bool:
    """Whether a model is named by a path, rather than by a name of the zoo or a description."""
    if text.endswith((".tflite", ".onnx")) or "/" in text or "\\" in text:
        return True
    from mcusim import zoo

    return bool(text) and text not in zoo.names() and _exists(text)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # a long description is no name of a file
        return False


def _load(path: Path) -> Graph:
    if path.suffix == ".onnx":
        from mcusim import onnx

        return onnx.load(path)
    from mcusim.tflite import load

    return load(path)
