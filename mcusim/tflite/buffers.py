"""Where constants lie: in the flatbuffer, past its end, or in files beside it."""

from __future__ import annotations

from math import prod
from os import SEEK_END
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType
from mcusim.tflite.flatbuffer import DamageError, File, Table, quoted

__all__ = ["Buffers", "packed_int4", "unpacked_int4"]

#: What the packing of an external buffer says when its bytes are those of an embedded one.
_PLAIN = ("", "none", "unpacked")


def unpacked_int4(packed: npt.NDArray[np.uint8], elements: int) -> npt.NDArray[np.int8]:
    """Sign-extended values of a packed int4 buffer, the low half of each byte first.

    Args:
        packed: uint8, ``(elements + 1) // 2`` bytes.
        elements: how many values to take.

    Returns:
        int8, shape ``(elements,)``, in [-8, 7].

    Source: TFLite ``UnpackDenseInt4IntoInt8``.
    """
    halves = np.empty(2 * packed.size, np.int8)
    signed = packed.view(np.int8)
    halves[0::2] = (signed << 4) >> 4
    halves[1::2] = signed >> 4
    return halves[:elements]


def packed_int4(values: npt.NDArray[np.int8]) -> bytes:
    """The inverse of :func:`unpacked_int4`; the last half byte is zero when unused."""
    halves = np.zeros(values.size + values.size % 2, np.uint8)
    halves[: values.size] = values.reshape(-1).view(np.uint8) & 15
    return (halves[0::2] | halves[1::2] << 4).tobytes()


def _array(data: Array, dtype: DType) -> Array:
    """All elements that a buffer holds, read-only."""
    if dtype is DType.INT4:
        array: Array = unpacked_int4(data, 2 * data.size)
    elif dtype is DType.BOOL:
        array = data != 0
    else:
        array = data.view(dtype.numpy.newbyteorder("<"))
        if not array.flags.aligned:
            array = array.copy()
    array.flags.writeable = False
    return array


class Buffers:
    """The buffers of a model, wherever they lie.

    Args:
        file: the flatbuffer.
        model: its root table.
        base: folder of external files.
    """

    def __init__(self, file: File, model: Table, base: Path | None) -> None:
        self._file = file
        self._base = base
        self._tables = model.tables("buffers", "buffer")
        self._groups = model.tables("external_buffer_groups", "external buffer group")
        externals = model.tables("external_buffers", "external buffer")
        self._externals = {t.scalar("id"): (i, t) for i, t in enumerate(externals)}
        self._found: dict[int, Array] = {}
        self._arrays: dict[tuple[int, DType], Array] = {}
        self._blobs: dict[int, bytes] = {}
        self.external_bytes = 0

    def raw(self, index: int, user: Table) -> Array:
        """Bytes of buffer ``index``, uint8; empty for one without data."""
        if index in self._found:
            return self._found[index]
        if index >= len(self._tables):
            raise DamageError(f"{user.place()}: refers to buffer {index} of {len(self._tables)}")
        table = self._tables[index]
        data = table.vector("data")
        if data is None or not data.size:
            data = self._appended(table, "offset", "size")
        self._found[index] = data
        return data

    def constant(
        self, tensor: Table, shape: tuple[int, ...], dtype: DType
    ) -> tuple[int, Array | None]:
        """The buffer of a tensor and the value in it, read-only; None when there is none.

        A buffer without a number of its own (an external one, or data in buffer 0, which is
        empty by convention) gets one past the file's.
        """
        index: int = tensor.scalar("buffer")
        external: int = tensor.scalar("external_buffer")
        if external:
            index, data = self._external(external, tensor)
        else:
            data = self.raw(index, tensor)
            if index == 0 and data.size:
                index = len(self._tables) + len(self._externals)
                self._found[index] = data
        if not data.size:
            return index, None
        if dtype in (DType.STRING, DType.VARIANT):
            return index, data
        elements = prod(shape)
        if data.size != dtype.bytes_of(elements):
            raise DamageError(
                f"{tensor.place()}: has {data.size} bytes of data, "
                f"its shape {shape} of {dtype.value} needs {dtype.bytes_of(elements)}"
            )
        # Tensors that share a buffer share the array too, however many they are.
        if (index, dtype) not in self._arrays:
            self._arrays[index, dtype] = _array(data, dtype)
        return index, self._arrays[index, dtype][:elements].reshape(shape)

    def blob(self, index: int, user: Table) -> bytes:
        """Bytes of buffer ``index`` as an object of their own."""
        if index not in self._blobs:
            self._blobs[index] = self.raw(index, user).tobytes()
        return self._blobs[index]

    def custom_options(self, operator: Table) -> bytes:
        """Options of a custom operator, in the flatbuffer or past its end."""
        options = operator.vector("custom_options")
        if options is None or not options.size:
            options = self._appended(
                operator, "large_custom_options_offset", "large_custom_options_size"
            )
        return options.tobytes()

    def _appended(self, table: Table, offset: str, size: str) -> Array:
        """Bytes past the flatbuffer, as models over 2 GB keep them; empty when there are none."""
        start, length = table.scalar(offset), table.scalar(size)
        if start <= 1 or not length:
            return np.frombuffer(b"", np.uint8)
        self._file.span(start, length, table, offset)
        return np.frombuffer(self._file.content, np.uint8, length, start)

    def _external(self, identity: int, tensor: Table) -> tuple[int, Array]:
        if identity not in self._externals:
            raise DamageError(
                f"{tensor.place()}: refers to external buffer {identity}, which is missing"
            )
        position, table = self._externals[identity]
        index = len(self._tables) + position
        if index not in self._found:
            self._found[index] = self._outside(table)
        return index, self._found[index]

    def _outside(self, table: Table) -> Array:
        group = table.scalar("group")
        if group >= len(self._groups):
            raise DamageError(f"{table.place()}: is in group {group} of {len(self._groups)}")
        packing = table.text("packing")
        if packing not in _PLAIN:
            raise DamageError(
                f"{table.place()}: is packed as {quoted(packing)}", "only plain is known"
            )
        name = self._groups[group].text("name")
        where = f"{table.place()}: is in file {quoted(name)}"
        if self._base is None:
            raise DamageError(where, "load the model by its path, beside that file")
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise DamageError(f"{where}, which is not beside the model")
        offset, length = table.scalar("offset"), table.scalar("length")
        try:
            with (self._base / name).open("rb") as source:
                available = source.seek(0, SEEK_END)
                if offset + length > available:
                    raise DamageError(
                        f"{where}, bytes {offset} to {offset + length}, which has {available}"
                    )
                source.seek(offset)
                data = source.read(length)
        except (OSError, ValueError):
            raise DamageError(where, "it cannot be read; put it beside the model") from None
        self.external_bytes += length
        return np.frombuffer(data, np.uint8)
