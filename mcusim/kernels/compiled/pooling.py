"""Loops of pooling: each window's taps in the library's order, a row of channels at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit

__all__ = ["Windows", "average", "average_float", "largest", "root_mean_square"]

Bounds = npt.NDArray[np.int64]


class Windows(NamedTuple):
    """First element of each window inside the input, and the one after the last.

    Attributes:
        top: first rows.
        bottom: rows after the last.
        left: first columns.
        right: columns after the last.
    """

    top: Bounds
    bottom: Bounds
    left: Bounds
    right: Bounds


@njit(cache=True)
def average(x: Any, windows: Windows, low: int, high: int, out: Any) -> None:
    """Mean of each window, rounded to the nearest, ties away from zero.

    Args:
        x: int8 or int16, shape ``(images, rows, columns, channels)``.
        windows: of the output's rows and columns.
        low: least stored value.
        high: largest stored value.
        out: of the type of ``x``, shape ``(images, rows, columns, channels)``, written.
    """
    images, height, width, channels = out.shape
    totals = np.empty(channels, np.int32)
    for image in range(images):
        for out_y in range(height):
            for out_x in range(width):
                totals[:] = 0
                count = 0
                for y in range(windows.top[out_y], windows.bottom[out_y]):
                    for column in range(windows.left[out_x], windows.right[out_x]):
                        taps = x[image, y, column]
                        count += 1
                        for i in range(channels):
                            totals[i] += taps[i]
                half = count // 2
                divisor = np.float64(count)
                for i in range(channels):
                    # Whole numbers below 2**53: the quotient never reaches the next whole number.
                    mean = np.int32(np.float64(abs(totals[i]) + half) / divisor)
                    mean = mean if totals[i] > 0 else -mean
                    out[image, out_y, out_x, i] = max(min(mean, high), low)


@njit(cache=True)
def average_float(x: Any, windows: Windows, low: np.float32, high: np.float32, out: Any) -> None:
    """Mean of each float32 window; arguments as of :func:`average`."""
    images, height, width, channels = out.shape
    totals = np.empty(channels, np.float32)
    for image in range(images):
        for out_y in range(height):
            for out_x in range(width):
                totals[:] = np.float32(0)
                count = np.float32(0)
                for y in range(windows.top[out_y], windows.bottom[out_y]):
                    for column in range(windows.left[out_x], windows.right[out_x]):
                        taps = x[image, y, column]
                        count += np.float32(1)
                        for i in range(channels):
                            totals[i] += taps[i]
                for i in range(channels):
                    value = totals[i] / count
                    value = low if value < low else value
                    out[image, out_y, out_x, i] = high if high < value else value


@njit(cache=True)
def root_mean_square(x: Any, windows: Windows, low: np.float32, high: np.float32, out: Any) -> None:
    """Square root of the mean square of each float32 window; arguments as of :func:`average`."""
    images, height, width, channels = out.shape
    totals = np.empty(channels, np.float32)
    for image in range(images):
        for out_y in range(height):
            for out_x in range(width):
                totals[:] = np.float32(0)
                count = np.float32(0)
                for y in range(windows.top[out_y], windows.bottom[out_y]):
                    for column in range(windows.left[out_x], windows.right[out_x]):
                        taps = x[image, y, column]
                        count += np.float32(1)
                        for i in range(channels):
                            totals[i] += taps[i] * taps[i]
                for i in range(channels):
                    value = np.sqrt(totals[i] / count)
                    value = low if value < low else value
                    out[image, out_y, out_x, i] = high if high < value else value


@njit(cache=True)
def largest(x: Any, windows: Windows, least: Any, low: Any, high: Any, out: Any) -> None:
    """Largest tap of each window.

    Args:
        x: int8, int16 or float32, shape ``(images, rows, columns, channels)``.
        windows: of the output's rows and columns.
        least: what an empty window gives: the least value of the type.
        low: least result, of the type of ``x``.
        high: largest result, of the type of ``x``.
        out: of the type of ``x``, shape ``(images, rows, columns, channels)``, written.
    """
    images, height, width, channels = out.shape
    for image in range(images):
        for out_y in range(height):
            for out_x in range(width):
                found = out[image, out_y, out_x]
                found[:] = least
                for y in range(windows.top[out_y], windows.bottom[out_y]):
                    for column in range(windows.left[out_x], windows.right[out_x]):
                        taps = x[image, y, column]
                        for i in range(channels):
                            # Not max(): of two equals the first stays, and a NaN is passed over.
                            found[i] = taps[i] if found[i] < taps[i] else found[i]
                for i in range(channels):
                    value = low if found[i] < low else found[i]
                    found[i] = high if high < value else value
