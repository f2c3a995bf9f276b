"""Weights as Svoboda et al. compress them: 8-bit Q, k-means on top of it, Huffman codes on top.

The order is that of Han et al., "Deep Compression" (arXiv:1510.00149): centroids start at equal
distances between the smallest and the largest weight, and codes are those of the clusters.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["CodeBook", "code_book", "code_lengths", "q_format"]

_Ints = npt.NDArray[np.int64]
_Int8 = npt.NDArray[np.int8]
_Floats = npt.NDArray[np.floating]

_MOST_ROUNDS = 200


@dataclass(frozen=True, eq=False)
class CodeBook:
    """A tensor of weights behind a canonical Huffman code.

    Attributes:
        values: int8, shape ``(clusters,)``: what each code stands for, in order of the codes, which
            is that of their lengths.
        counts: int64, shape ``(clusters,)``: weights that have it.
        lengths: int64, shape ``(clusters,)``: bits of its code, rising.
    """

    values: _Int8
    counts: _Ints
    lengths: _Ints

    @property
    def weights(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def code_bits(self) -> int:
        """Bits of all codes."""
        return int(self.counts @ self.lengths)

    @property
    def table_bits(self) -> int:
        """Bits of the book: a value and a length of 8 bits each for every entry."""
        return 16 * len(self.values)

    @property
    def bits_per_weight(self) -> float:
        """Mean, with the book."""
        return (self.code_bits + self.table_bits) / self.weights

    @cached_property
    def codes(self) -> _Ints:
        """int64, shape ``(clusters,)``: canonical codes, as numbers of as many bits."""
        code, last, found = 0, int(self.lengths[0]), []
        for length in self.lengths:
            code <<= int(length) - last
            last = int(length)
            found.append(code)
            code += 1
        return np.array(found, np.int64)

    def packed(self, weights: _Int8) -> bytes:
        """Codes one after the other, the first bit the highest of the first byte.

        Args:
            weights: int8, any shape: values of the book.
        """
        text = {
            int(value): format(int(code), f"0{int(length)}b")
            for value, code, length in zip(self.values, self.codes, self.lengths, strict=True)
        }
        bits = "".join(text[int(weight)] for weight in weights.ravel())
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def q_format(weights: _Floats) -> tuple[_Int8, int]:
    """8-bit Q: a sign and seven bits, as many of them a fraction as the largest weight leaves.

    Args:
        weights: any shape, not all of them zero.

    Returns:
        int8 of the same shape, and the bits of the fraction, which may be more than seven.
    """
    largest = float(np.abs(weights).max())
    fraction = 7 - int(np.ceil(np.log2(largest)))
    return np.clip(np.rint(weights * 2.0**fraction), -128, 127).astype(np.int8), fraction


def code_book(weights: _Int8, clusters: int) -> tuple[_Int8, CodeBook]:
    """Cluster weights in 8-bit Q by k-means, and code the clusters.

    Args:
        weights: int8, any shape.
        clusters: at most; those without a weight are dropped.

    Returns:
        The clustered weights, int8 of the same shape, and their book.
    """
    weighs = np.bincount(weights.ravel().astype(np.int64) + 128, minlength=256)
    found = np.flatnonzero(weighs)
    weighs, found = weighs[found], found - 128
    centroids = np.linspace(found[0], found[-1], clusters)
    for _ in range(_MOST_ROUNDS):
        nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, found)
        held = np.bincount(nearest, weighs, len(centroids))
        sums = np.bincount(nearest, weighs * found, len(centroids))
        moved = sums[held > 0] / held[held > 0]
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, found)
    stands_for = np.rint(centroids[nearest]).astype(np.int8)
    values, entry = np.unique(stands_for, return_inverse=True)
    counts = np.bincount(entry, weighs).astype(np.int64)
    lengths = np.array(code_lengths(counts.tolist()), np.int64)
    order = np.argsort(lengths, kind="stable")
    clustered = np.zeros(256, np.int8)
    clustered[found + 128] = stands_for
    return (
        clustered[weights.astype(np.int64) + 128],
        CodeBook(values[order], counts[order], lengths[order]),
    )


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Bits of each symbol's Huffman code; one bit where there is a single symbol.

    Args:
        counts: how often each symbol occurs, all above zero.
    """
    if len(counts) == 1:
        return [1]
    lengths = [0] * len(counts)
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (count, position, (position,)) for position, count in enumerate(counts)
    ]
    heapq.heapify(heap)
    while len(heap) > 1:
        fewest, _, left = heapq.heappop(heap)
        next_fewest, position, right = heapq.heappop(heap)
        for symbol in (*left, *right):
            lengths[symbol] += 1
        heapq.heappush(heap, (fewest + next_fewest, position, (*left, *right)))
    return lengths
