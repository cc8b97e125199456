"""One JSON array of records, taken apart piece by piece, so that a file of any size needs little memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from prefboost.errors import Place, UnreadableFile
from prefboost.sources.readers.text_files import Block, read_byte_chunks

__all__ = ["read_array_blocks"]

SPACE = " \t\r\n"
NEAR = 16
"""Characters from the end within which a fault may be only that the text stops: no literal or escape is longer."""

FOLLOWS = (",", "]", *SPACE)
"""Signs that may follow an item."""

# ijson with its C backend takes 2.0 to 2.4 times the CPU time (docs/log.md): it builds every value, which has to be
# written again, while this passes on the text of a record.
_DECODER = json.JSONDecoder()


def read_array_blocks(path: Path, block_bytes: int) -> Iterator[Block]:
    """Yield an array's items as lines, in blocks of about ``block_bytes``; memory holds a block and the longest item.

    Raises:
        UnreadableFile: the array is no JSON, is cut off, or something follows it; items before that have been given.
    """
    lines: list[str] = []
    size, first, text = 0, 1, _Text(path)
    text.pass_sign("[")
    sign = text.pass_sign("]") if text.peek_sign() == "]" else ","
    while sign == ",":
        lines.append(text.pass_value())
        size += len(lines[-1])
        if size >= block_bytes:
            yield Block("\n".join(lines).encode("utf-8", "surrogatepass"), first)
            first += len(lines)
            lines, size = [], 0
        sign = text.pass_sign(",", "]")
    if text.peek_sign():
        raise text.describe_fault("something stands after the array")
    if lines:
        yield Block("\n".join(lines).encode("utf-8", "surrogatepass"), first)


class _Text:
    """The text of a file, of which only the part that is still to be read is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks = read_byte_chunks(path)
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.held, self.position, self.before, self.whole = "", 0, 0, False

    def read_on(self, least: int = 1) -> bool:
        """Read on by at least so many characters where there are any; what was taken already is let go."""
        parts, read = [self.held[self.position :]], 0
        self.before += self.position
        self.position = 0
        try:
            while read < least and not self.whole:
                chunk = next(self.chunks, None)
                self.whole = chunk is None
                parts.append(self.decoder.decode(chunk or b"", self.whole))
                read += len(parts[-1])
        except UnicodeDecodeError as error:
            raise self.describe_fault(f"the bytes are no UTF-8 ({error.reason})") from error
        self.held = "".join(parts)
        return read > 0

    def peek_sign(self) -> str:
        """Return the next character that is no space, without passing it; empty at the end of the file."""
        while True:
            while self.position < len(self.held) and self.held[self.position] in SPACE:
                self.position += 1
            if self.position < len(self.held):
                return self.held[self.position]
            if not self.read_on():
                return ""

    def pass_sign(self, *signs: str) -> str:
        """Pass one of the signs."""
        sign = self.peek_sign()
        if sign not in signs:
            raise self.describe_fault(f"{' or '.join(signs)} is missing" if sign else "the array is cut off")
        self.position += 1
        return sign

    def pass_value(self) -> str:
        """Pass one value; its text on one line (a line break in JSON is never inside a text)."""
        self.peek_sign()
        while True:
            try:
                _, end = _DECODER.raw_decode(self.held, self.position)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.held) - NEAR
                end = len(self.held) if cut else -1
                fault = error.msg
            except RecursionError as error:
                raise self.describe_fault("it is nested too deeply") from error
            else:
                # What stands before the end of the text may be a number that goes on: 1 of 1.5e3.
                if end < len(self.held) - NEAR or self.whole or self.held[end : end + 1] in FOLLOWS:
                    text = self.held[self.position : end]
                    self.position = end
                    return text.replace("\n", " ").replace("\r", " ")
                fault = "the array is cut off"
            # Twice as much each time, so that a long item is not looked at again and again.
            if end < 0 or not self.read_on(len(self.held) - self.position):
                raise self.describe_fault(fault)

    def describe_fault(self, fault: str) -> UnreadableFile:
        """Build the error for what is wrong at the present position."""
        return UnreadableFile(
            f"not readable as JSON: {fault} (at character {self.before + self.position:,})",
            remedy="fetch or write the file again; a broken line of .jsonl costs that line alone",
            place=Place(str(self.path)),
        )
