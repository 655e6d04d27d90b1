"""Documents as msgpack, arrays by msgpack-numpy: the one encoding of journals, 0MQ and Kafka messages.

msgpack-numpy's own decoder unpickles arrays of objects and builds any array that a message describes. What is read
here may come from anywhere, so an array is built only if its dtype is plain (numbers, booleans, times, strings of
stated length, or a record of these) and its bytes are all in the message. Nothing is ever pickled, either way.

msgpack's own classes are taken from where they are made: ``msgpack_numpy.patch()``, which importing suitcase-msgpack
calls, exchanges the names in ``msgpack`` for some that decode anything.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np

from .errors import DataError

try:
    from msgpack._cmsgpack import Packer, Unpacker, unpackb
except ImportError:  # an installation without the compiled part
    from msgpack.fallback import Packer, Unpacker, unpackb

__all__ = ["Unpacker", "make_packer", "pack", "unpack"]

_PLAIN = re.compile(r"[<>|=]?[biufcmMSU]\d{1,9}(\[\d*[A-Za-z]{1,2}\])?")
_MAX_FIELDS = 1000
_MAX_EMPTY = 1 << 20
"""Product of the other lengths of an array that has no elements."""
_MAX_COMPLEX = 100  # characters of a Python complex number


def make_packer() -> Any:
    """Return a `msgpack.Packer` for documents; its ``pack`` raises DataError for what only pickle could hold."""
    return Packer(default=_encode, use_bin_type=True)


def pack(obj: Any) -> bytes:
    """Encode a document, or a ``(name, document)`` pair.

    Raises
    ------
    DataError
        If it holds an object that has no place in a document.

    Examples
    --------
    >>> import numpy as np
    >>> unpack(pack({"counts": np.arange(3, dtype="<i4")}))["counts"].dtype
    dtype('int32')
    """
    try:
        return bytes(make_packer().pack(obj))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"cannot be recorded: {error}") from error


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Decode what `pack` made; arrays with their dtype, read-only, tuples as lists.

    Raises
    ------
    DataError
        If it is not one whole message, or holds an array that is not plain or larger than its bytes.

    Notes
    -----
    A message may state more elements than it has, for which msgpack would reserve memory at once. It is first passed
    over without building anything, which needs all of its bytes to be there.
    """
    size = max(len(data), 1)
    unpacker = Unpacker(max_buffer_size=size)
    try:
        unpacker.feed(data)
        unpacker.skip()
        if unpacker.tell() != len(data):
            raise DataError(f"{len(data) - unpacker.tell()} bytes follow the message")
        return unpackb(data, object_hook=_decode, raw=False, strict_map_key=False)
    except msgpack.OutOfData:
        raise DataError("the message is cut") from None
    except DataError:
        raise
    except (
        Exception
    ) as error:  # msgpack raises ValueError, UnicodeDecodeError, StackError, TypeError (an unhashable key)
        raise DataError(f"not msgpack ({error!r})") from error


def _encode(obj: Any) -> Any:
    dtype = getattr(obj, "dtype", None)
    if getattr(dtype, "hasobject", False):
        raise DataError("an array of Python objects has no place in a document")
    if getattr(dtype, "kind", "") == "V":
        _dtype([list(field) for field in obj.dtype.descr], b"V")  # nothing is written that would not be read
    return msgpack_numpy.encode(obj)


def _decode(obj: dict[Any, Any]) -> Any:
    if b"nd" in obj:
        return _array(obj)
    if b"complex" in obj and b"data" in obj:
        text = obj[b"data"]
        try:
            if len(text) <= _MAX_COMPLEX:
                return complex(text if isinstance(text, str) else text.decode("ascii"))
        except (TypeError, ValueError, AttributeError):
            pass
        raise DataError("a complex number that cannot be read")
    return obj


def _array(obj: dict[Any, Any]) -> Any:
    data = obj.get(b"data")
    if not isinstance(data, bytes):
        raise DataError("an array without its bytes")
    dtype = _dtype(obj.get(b"type"), obj.get(b"kind"))
    shape = obj.get(b"shape", [1]) if obj[b"nd"] is True else []
    if not (isinstance(shape, list) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)):
        raise DataError("an array of a shape that cannot be")
    if math.prod(max(n, 1) for n in shape) > max(
        len(data), _MAX_EMPTY
    ):  # (10¹², 0) has no bytes, and as many rows
        raise DataError(f"an array of {shape}, of which {len(data)} bytes are there")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise DataError(f"an array of {shape} × {dtype.itemsize} bytes, of which {len(data)} are there")
    array = np.frombuffer(data, dtype).reshape(shape) if data else np.empty(shape, dtype)
    return array if obj[b"nd"] is True else array[()]


def _dtype(described: Any, kind: Any) -> np.dtype[Any]:
    if kind == b"O" or kind == "O":
        raise DataError("an array of pickled Python objects, which is never read")
    if isinstance(described, bytes):
        described = described.decode("ascii", "replace")
    if isinstance(described, str):
        return _plain(described)
    if not (isinstance(described, list) and 0 < len(described) <= _MAX_FIELDS):
        raise DataError("an array without a dtype")
    fields = []
    for field in described:
        if not (isinstance(field, list) and len(field) == 2 and isinstance(field[0], str)):
            raise DataError("an array of a dtype that is not plain")
        fields.append((field[0], _plain(field[1])))
    try:
        return np.dtype(fields)
    except (TypeError, ValueError) as error:
        raise DataError(f"an array of a dtype that cannot be ({error})") from None


def _plain(described: Any) -> np.dtype[Any]:
    if isinstance(described, str) and _PLAIN.fullmatch(described):
        try:
            dtype = np.dtype(described)
        except (TypeError, ValueError):
            dtype = np.dtype("V1")
        if dtype.itemsize and dtype.kind in "biufcmMSU":
            return dtype
    raise DataError(f"an array of dtype '{str(described)[:40]}', which is not plain numbers of a stated size")
