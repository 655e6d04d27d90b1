"""Random changes of bytes: what a transfer cut short, an editor or an attacker makes of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["MUTATIONS", "Choose", "mutate"]

Choose = Callable[[int, int], int]
"""Gives an integer from the first to the last: of a random generator, or of hypothesis, which then can shrink."""

TOKENS: tuple[bytes, ...] = (
    b"\x00", b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00" * 64, b"-1", b"0", b"1e999",
    b"nan", b"inf", b"-inf", b"NaN", b"99999999999999999999", b"\n", b"\r\n", b"\t", b": ", b"- ", b"[", b"]", b"{",
    b"}", b"[[[[[[[[", b"&a [*a, *a]", b"*a", b"!!python/object/apply:os.system ['false']", b"'", b'"', b",",
    b"|O", b"|S0", b"<f8", b">i8", b"<U9", b"\xef\xbb\xbf", "µ×é漢".encode(), b"#SPECTRUM", b"#XUNITS", b"..",
    b"../../../etc/passwd", b"[/old]", b"null", b"true", b"\x93NUMPY", b"PK\x05\x06", b"\xc1", b"\xde\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff",
)  # fmt: skip
"""What parsers are known to stumble over: numbers at limits, nesting, aliases, types and lengths of containers."""


def _flip(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    at = choose(0, len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << choose(0, 7))]) + data[at + 1 :]


def _set(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    at = choose(0, len(data) - 1)
    return data[:at] + bytes([choose(0, 255)]) + data[at + 1 :]


def _cut(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    return data[: choose(0, len(data) - 1)]


def _remove(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    begin, end = _slice(data, choose)
    return data[:begin] + data[end:]


def _repeat(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    begin, end = _slice(data, choose)
    return data[:end] + data[begin:end] * choose(1, 4) + data[end:]


def _insert(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    at = choose(0, len(data))
    return data[:at] + TOKENS[choose(0, len(TOKENS) - 1)] + data[at:]


def _overwrite(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    at, token = choose(0, len(data) - 1), TOKENS[choose(0, len(TOKENS) - 1)]
    return data[:at] + token + data[at + len(token) :]


def _replace_number(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    """Put a token where a run of digits stands, wherever it is text."""
    digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if not digits:
        return _insert(data, choose, samples)
    begin = end = digits[choose(0, len(digits) - 1)]
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    return data[:begin] + TOKENS[choose(0, len(TOKENS) - 1)] + data[end:]


def _swap_lines(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    a, b = choose(0, len(lines) - 1), choose(0, len(lines) - 1)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _splice(data: bytes, choose: Choose, samples: Sequence[bytes]) -> bytes:
    other = samples[choose(0, len(samples) - 1)]
    return data[: choose(0, len(data))] + other[choose(0, len(other)) :]


MUTATIONS = (_flip, _set, _cut, _remove, _repeat, _insert, _overwrite, _replace_number, _swap_lines, _splice)


def mutate(samples: Sequence[bytes], choose: Choose, most: int = 4) -> bytes:
    """Return one of `samples`, changed up to `most` times.

    Parameters
    ----------
    samples : sequence of bytes
        Valid inputs, none empty.
    choose : callable
        Gives an integer between two, both included.
    most : int
        Changes at most; one at least.

    Examples
    --------
    >>> mutate([b"live_time: 10"], lambda low, high: high, most=1)
    b'live_time: 10'
    """
    data = samples[choose(0, len(samples) - 1)]
    for _ in range(choose(1, most)):
        if not data:
            return data
        data = MUTATIONS[choose(0, len(MUTATIONS) - 1)](data, choose, samples)
    return data


def _slice(data: bytes, choose: Choose) -> tuple[int, int]:
    begin = choose(0, len(data) - 1)
    return begin, min(len(data), begin + choose(1, 64))
