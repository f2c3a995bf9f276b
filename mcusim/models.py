"""Models by path, or by name out of the zoo."""

from __future__ import annotations

from pathlib import Path

from mcusim.graph import Graph

__all__ = ["load_model"]


def load_model(model: str | Path) -> Graph:
    """Load a model.

    Args:
        model: path of a ``.tflite`` or ``.onnx`` file, or the name of a network of the zoo, such as
            ``"ds-cnn"``. What looks like a path is one: it has a separator or such an ending.

    Returns:
        The model.

    Raises:
        ModelError: there is none, or the file is damaged; names the file and the place in it.
    """
    text = str(model)
    if (
        isinstance(model, Path)
        or text.endswith((".tflite", ".onnx"))
        or "/" in text
        or "\\" in text
    ):
        return _load(Path(model))
    from mcusim import zoo

    if text and text not in zoo.names() and Path(text).exists():
        return _load(Path(text))
    return zoo.build(text)


def _load(path: Path) -> Graph:
    if path.suffix == ".onnx":
        from mcusim import onnx

        return onnx.load(path)
    from mcusim.tflite import load

    return load(path)
