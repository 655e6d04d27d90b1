"""The bytes of the Open Beam Interface: commands to its scan generator, and what comes back.

A command is one byte, its type in the upper four bits and flags in the lower four, then 16-bit numbers, the more
significant byte first. Each pixel command gives one 16-bit sample back; a synchronisation gives 0xFFFF and its
cookie. Source: Open Beam Interface, ``software/obi/commands`` (the numbers) and ``software/obi/applet`` (what the
gateware makes of them), 0BSD.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ..errors import InstrumentError

__all__ = [
    "CODES",
    "CYCLE_S",
    "FEWEST_CYCLES",
    "MOST_CYCLES",
    "Command",
    "CommandReader",
    "Kind",
    "blank",
    "dwell",
    "external_control",
    "flush",
    "select_electrons",
    "synchronize",
]

CYCLE_S = 125e-9
"""A conversion of the gateware's DACs and ADC, s: the unit of a dwell."""
CODES = 1 << 14
"""Codes of a DAC, over the whole field."""
FEWEST_CYCLES, MOST_CYCLES = 2, 1 << 16
"""Dwell of one pixel command in cycles; its number on the wire is one less, as the gateware counts from zero."""


class Kind(IntEnum):
    """Types of commands."""

    SYNCHRONIZE = 0x0
    ABORT = 0x1
    FLUSH = 0x2
    EXTERNAL_CONTROL = 0x3
    BEAM_SELECT = 0x4
    BLANK = 0x5
    DELAY = 0x6
    VECTOR_PIXEL = 0xE


_ELECTRONS = 1
_NUMBERS = {Kind.SYNCHRONIZE: 1, Kind.DELAY: 1, Kind.VECTOR_PIXEL: 3}
"""16-bit numbers that follow the first byte, none where a type is not named."""


def _head(kind: Kind, flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags])


def synchronize(cookie: int) -> bytes:
    """Return the command that is answered by 0xFFFF and `cookie`; vector mode, 16-bit samples from then on."""
    return _head(Kind.SYNCHRONIZE) + struct.pack(">H", cookie)


def flush() -> bytes:
    """Return the command that sends what is in the output buffer."""
    return _head(Kind.FLUSH)


def external_control(enable: bool) -> bytes:
    """Return the command that takes over scan coils and blanker, or gives them back."""
    return _head(Kind.EXTERNAL_CONTROL, int(enable))


def select_electrons() -> bytes:
    """Return the command that makes the electron beam's blanker the one that is switched."""
    return _head(Kind.BEAM_SELECT, _ELECTRONS)


def blank(enable: bool, *, inline: bool) -> bytes:
    """Return the command that blanks or unblanks: with the next pixel, or once the pixels before are over."""
    return _head(Kind.BLANK, int(enable) | int(inline) << 1)


def dwell(x_code: int, y_code: int, cycles: int) -> Iterator[bytes]:
    """Yield the pixel commands of a dwell of `cycles` at a place: several where it is longer than one can be.

    Examples
    --------
    >>> [part.hex(" ") for part in dwell(1, 2, 65537)]
    ['e0 00 01 00 02 ff fd', 'e0 00 01 00 02 00 02']
    """
    left = max(cycles, FEWEST_CYCLES)
    while left:
        part = min(left, MOST_CYCLES)
        if 0 < left - part < FEWEST_CYCLES:  # the rest would be too short to be a command
            part -= FEWEST_CYCLES
        left -= part
        yield _head(Kind.VECTOR_PIXEL) + struct.pack(">HHH", x_code, y_code, part - 1)


class Command(NamedTuple):
    """A command as the gateware reads it."""

    kind: Kind
    flags: int
    numbers: tuple[int, ...]


class CommandReader:
    """Takes bytes apart into commands, however they are cut; used by the stand-in for the gateware."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Command]:
        """Yield the commands that are complete by now.

        Raises
        ------
        InstrumentError
            At a command of another type: where the next one begins is not known then.
        """
        self._rest += data
        at = 0
        try:
            while at < len(self._rest):
                head = self._rest[at]
                try:
                    kind = Kind(head >> 4)
                except ValueError:
                    raise InstrumentError(f"Open Beam Interface: no command of type {head >> 4:#x}") from None
                n = _NUMBERS.get(kind, 0)
                if len(self._rest) < at + 1 + 2 * n:
                    return
                numbers = struct.unpack_from(f">{n}H", self._rest, at + 1)
                at += 1 + 2 * n
                yield Command(kind, head & 0xF, numbers)
        finally:
            self._rest = self._rest[at:]
