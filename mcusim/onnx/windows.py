"""Windows of convolutions and pooling, as an ONNX node has them and as a Graph says them."""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.onnx.file import OnnxNode

__all__ = ["Window", "window_of"]


@dataclass(frozen=True)
class Window:
    """A window.

    Attributes:
        kernel: height and width.
        stride: vertical and horizontal.
        before: rows and columns of padding before the image.
        after: behind it.
        out: height and width of the output.
        padding: ``VALID`` or ``SAME`` where a Graph says the same; empty for other edges.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    out: tuple[int, int]
    padding: str


def window_of(node: OnnxNode, extent: tuple[int, int], kernel: tuple[int, ...]) -> Window:
    """The window of a node over images of ``extent``.

    Raises:
        UnsupportedOperatorError: it dilates, or rounds its output up.
    """
    node.refuse(len(kernel) == 2, "it works on other than images")
    node.refuse(set(node.integers("dilations", (1, 1))) == {1}, "it dilates")
    node.refuse(node.integer("ceil_mode", 0) == 0, "it rounds its output's extent up")
    stride = node.integers("strides", (1, 1))
    axes = [_axis(node, way, extent[way], kernel[way], stride[way]) for way in range(2)]
    (top, bottom, rows), (left, right, columns) = axes
    out = (rows, columns)
    same = all(
        -(-extent[way] // stride[way]) == out[way]
        and (axes[way][0], axes[way][1]) == _same(extent[way], kernel[way], stride[way])
        for way in range(2)
    )
    padding = "VALID" if not (top or bottom or left or right) else "SAME" if same else ""
    return Window(
        (kernel[0], kernel[1]), (stride[0], stride[1]), (top, left), (bottom, right), out, padding
    )


def _axis(node: OnnxNode, way: int, extent: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Padding before and behind along an axis, and the output's extent."""
    automatic = node.text("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        less, more = _same(extent, kernel, stride)
        before, after = (less, more) if automatic == "SAME_UPPER" else (more, less)
    elif automatic == "VALID":
        before = after = 0
    else:
        pads = node.integers("pads", (0, 0, 0, 0))
        before, after = pads[way], pads[way + 2]
    return before, after, (extent + before + after - kernel) // stride + 1


def _same(extent: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding with which the output has an element for each stride; the odd one behind."""
    total = max(0, (-(-extent // stride) - 1) * stride + kernel - extent)
    return total // 2, total - total // 2
