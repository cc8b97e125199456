"""Text files that are not UTF-8: UTF-16 and UTF-32 are told by their first bytes, other bytes are named."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

__all__ = ["NOT_UTF8", "as_utf8", "detect_encoding", "has_undecoded"]

NOT_UTF8 = "the line is not UTF-8 text: convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8 FILE"
"""Reason of a reject. The bytes may be of any older encoding, so that nothing but the user can tell which."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decode UTF-16 and UTF-32 chunk by chunk, and hand everything else on as it is.

    Args:
        chunks: of a file of text. A byte order mark tells the encoding; without one, the zero bytes of two ASCII
            characters do, as every JSON or CSV file begins.

    Raises:
        UnicodeDecodeError: the bytes are not what the mark promises.
    """
    first = next(chunks, b"")
    while 0 < len(first) < 4 and (addition := next(chunks, b"")):
        first += addition
    encoding = detect_encoding(first[:4])
    if encoding is None:
        yield from filter(None, (first,))
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chain((first,), chunks):
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def has_undecoded(text: str) -> bool:
    """Tell whether bytes that are no UTF-8 stand in a text that was decoded with ``surrogateescape``."""
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def detect_encoding(start: bytes) -> str | None:
    """Detect the encoding that the first four bytes of a text promise; None for UTF-8."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) == 4:
        zeros = "".join("0" if byte == 0 else "x" for byte in start)
        return {"x0x0": "utf-16-le", "0x0x": "utf-16-be"}.get(zeros)
    return None
