"""Files of every format as readers: streams of raw frames that can be run through more than once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from prefboost.addresses import find_address, format_place
from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.sources.readers.binary_files import (
    DAMAGE,
    PARQUET_MAGIC,
    ArrowReader,
    ParquetReader,
    refuse_duplicates,
)
from prefboost.sources.readers.content import detect_delimiter, detect_ending, detect_magic_ending
from prefboost.sources.readers.encodings import detect_encoding
from prefboost.sources.readers.endings import CARD, get_format_ending
from prefboost.sources.readers.json_array import read_array_blocks
from prefboost.sources.readers.json_lines import parse_block
from prefboost.sources.readers.json_objects import refuse_single_object
from prefboost.sources.readers.pipes import SpooledReader, rename_faults, spool_stream
from prefboost.sources.readers.raw import (
    BATCH_BYTES,
    MOST_ROWS,
    ROW,
    RawBatch,
    Reader,
    build_line_rejects,
    make_storable,
)
from prefboost.sources.readers.remote import find_base, list_far_names, open_bytes, read_range
from prefboost.sources.readers.split_files import choose_split, list_files, list_split_values
from prefboost.sources.readers.text_files import (
    BYTE_ORDER_MARK,
    GZIP_MAGIC,
    ZSTD_MAGIC,
    Block,
    BrokenRow,
    read_byte_chunks,
    read_csv_rows,
    read_line_blocks,
)

__all__ = [
    "FORMATS",
    "FarReader",
    "Readers",
    "open_far_reader",
    "open_file_reader",
    "open_path_reader",
]


@dataclass(frozen=True)
class JsonReader:
    """JSON lines, or one JSON array of objects."""

    path: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        first = 0
        for block in self.cut_blocks(rows):
            batch = parse_block(block, first, self.path)
            if batch.records:
                first += batch.records
                yield batch

    def cut_blocks(self, rows: int | None) -> Iterator[Block]:
        """Cut the text at ends of lines, each block a batch; blank ones too."""
        is_array = self.is_array()
        read_blocks = read_array_blocks if is_array else read_line_blocks
        for block in read_blocks(Path(self.path), BATCH_BYTES // 2):
            # Refused at once, before thousands of its lines become rejects that hide the cause.
            if block.line == 1 and not is_array:
                refuse_single_object(block.text, self.path)
            lines = block.text.split(b"\n") if rows else [block.text]
            step = rows or 1
            for offset in range(0, len(lines), step):
                yield Block(b"\n".join(lines[offset : offset + step]), block.line + offset)

    def read_bytes(self, begin: int, length: int, line: int) -> RawBatch:
        """Read the records of a block of plain lines, numbered from 0.

        Args:
            begin: its first byte.
            length: in bytes.
            line: number of its first line, from 1.
        """
        return parse_block(Block(read_range(self.path, begin, length), line), 0, self.path)

    def holds_plain_lines(self) -> bool:
        """Tell whether its records are found by the ends of lines: neither packed, nor UTF-16, nor an array."""
        head = read_range(self.path, 0, 4)
        packed = head.startswith(GZIP_MAGIC) or head == ZSTD_MAGIC
        return not packed and detect_encoding(head) is None and not self.is_array()

    def is_array(self) -> bool:
        """Tell whether the file begins with ``[`` and its first line is not a whole value of its own."""
        start = b""
        for chunk in read_byte_chunks(Path(self.path)):
            start += chunk
            if start.strip(b"\xef\xbb\xbf \t\r\n"):
                break
        text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not text.startswith(b"["):
            return False
        line, newline, rest = text.partition(b"\n")
        try:
            whole = isinstance(json.loads(line), list)
        except (ValueError, RecursionError):
            return True
        return not (whole and newline and rest.strip())


@dataclass(frozen=True)
class CsvReader:
    """Comma- or tab-separated text with a header. Cells are text; what they encode is decoded later."""

    path: str
    delimiter: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        lines = read_csv_rows(Path(self.path), detect_delimiter(Path(self.path), self.delimiter), recover=True)
        header = [make_storable(name) for name in next(lines, (0, []))[1]]
        refuse_duplicates(header, self.path)
        row, size = 0, 0
        held: list[tuple[int, int, list[str]]] = []
        for line, cells in lines:
            if not cells:
                continue
            held.append((row, line, cells))
            row += 1
            size += sum(map(len, cells))
            if size > BATCH_BYTES or len(held) >= (rows or MOST_ROWS):
                yield self._batch(header, held)
                size, held = 0, []
        if held:
            yield self._batch(header, held)

    def _batch(self, header: list[str], rows: list[tuple[int, int, list[str]]]) -> RawBatch:
        good = [(row, cells) for row, _, cells in rows if not isinstance(cells, BrokenRow)]
        bad = [(row, line, *cells.why) for row, line, cells in rows if isinstance(cells, BrokenRow)]
        rejects = build_line_rejects(bad, self.path)
        if not good:
            return RawBatch((), rejects)
        columns = zip(*(cells for _, cells in good), strict=True)
        texts = {name: [make_storable(cell) for cell in column] for name, column in zip(header, columns, strict=True)}
        frame = pl.DataFrame(texts, schema=dict.fromkeys(header, pl.String))
        return RawBatch((frame.with_columns(pl.Series(ROW, [row for row, _ in good], dtype=pl.Int64)),), rejects)


@dataclass(frozen=True)
class Readers:
    """Several files one after the other; rows are counted on.

    Args:
        path: the folder or glob.
        members: the files.
        splits: the split of each file by the data card or its name, None where neither names one.
        is_one_split: whether these are the files of one split that was asked for.
    """

    path: str
    members: tuple[Reader, ...]
    splits: tuple[str | None, ...] = ()
    is_one_split: bool = False

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        first = 0
        # In a file with other columns, a part may have another name, which a selection would drop.
        columns = columns if self.has_equal_columns() else None
        values: Sequence[str | None] = list_split_values(self.splits) or [None] * len(self.members)
        for member, value in zip(self.members, values, strict=True):
            read = 0
            for batch in member.batches(columns, rows):
                read += batch.records
                # Records that name their split themselves keep it.
                named = [] if value is None else [pl.lit(value).alias("split")]
                frames = tuple(
                    frame.with_columns(pl.col(ROW) + first, *([] if "split" in frame.columns else named))
                    for frame in batch.frames
                )
                yield RawBatch(frames, batch.rejects.with_columns(pl.col("row") + first))
            first += read

    def has_equal_columns(self) -> bool:
        """Tell whether all files are known to have the same columns."""
        names = []
        try:
            for each in self.members:
                if not isinstance(each, ParquetReader):
                    return len(self.members) == 1
                with open_bytes(each.path) as stream:
                    names.append(sorted(pq.read_schema(stream).names))
        except DAMAGE:
            return False  # the file is named when its rows are read
        return all(each == names[0] for each in names)


FORMATS: dict[str, Callable[[str], Reader]] = {
    ".parquet": ParquetReader,
    ".pq": ParquetReader,
    ".arrow": ArrowReader,
    ".ipc": ArrowReader,
    ".feather": ArrowReader,
    ".jsonl": JsonReader,
    ".ndjson": JsonReader,
    ".json": JsonReader,
    ".csv": lambda path: CsvReader(path, ","),
    ".tsv": lambda path: CsvReader(path, "\t"),
}
"""Reader for each ending of a file's name, with or without .gz or .zst behind it."""


def open_file_reader(path: Path) -> Reader:
    """Open the reader of one file.

    Raises:
        UnreadableFile: no file, an empty file, or an ending that names no known format.
    """
    place = Place(str(path))
    if not path.is_file():
        raise UnreadableFile("no such file", remedy="check the path", place=place)
    if path.stat().st_size == 0:
        raise UnreadableFile("the file is empty (0 bytes)", remedy="fetch or write the file again", place=place)
    suffix, magic = get_format_ending(path), detect_magic_ending(path)
    if suffix not in FORMATS:
        actual = detect_ending(path)
        looks = f"its bytes look like {actual}: name it so; " if actual else ""
        raise UnreadableFile(
            f"no known format ends in {path.suffix or 'nothing'}",
            remedy=f"{looks}known endings: {', '.join(FORMATS)}, text formats also with .gz or .zst",
            place=place,
        )
    if magic is not None and FORMATS[magic] != FORMATS[suffix]:
        raise UnreadableFile(
            f"the bytes are those of a {magic} file, not of {suffix}", remedy=f"name it {path.stem}{magic}", place=place
        )
    return FORMATS[suffix](str(path))


def open_path_reader(pattern: str, config: str | None = None, split: str | None = None) -> Reader | None:
    """Open the reader of a file, a folder or a glob; None where no such path exists.

    Args:
        pattern: the path. Files of a folder are those of its data card, where it has one.
        config: a configuration of the data card.
        split: files that are named after another split are left out.

    Raises:
        DataError: the folder holds no file of a known format, or files of several.
    """
    spooled = spool_stream(pattern)
    if spooled is not None:
        base = find_base(pattern)
        with rename_faults(str(spooled), format_place(base)):
            if spooled.is_file():
                return SpooledReader(pattern, open_file_reader(spooled), base)
            copied = list_files(f"{spooled}{pattern.removeprefix(base)}", config) or {}
            return SpooledReader(pattern, _open_several(str(spooled), copied, split, open_file_reader), base)
    if Path(pattern).is_file():
        return open_file_reader(Path(pattern))
    files = list_files(pattern, config)
    if files is None:
        return None
    return _open_several(pattern, files, split, open_file_reader)


def _open_several(
    pattern: str, files: Mapping[Path, str | None], split: str | None, open_one: Callable[[Path], Reader]
) -> Readers:
    """Open those of several files that hold rows, each with its split, as one reader.

    Raises:
        DataError: see `open_path_reader`.
    """
    usable = sorted(item for item in files if get_format_ending(item) in FORMATS)
    # Beside data, .json files are descriptions (dataset_info.json), not rows.
    data = [item for item in usable if not item.name.endswith(".json")] or usable
    if not data:
        raise DataError(
            f"no data files among {len(files):,} files",
            remedy=f"known endings: {', '.join(FORMATS)}",
            place=Place(pattern),
        )
    kinds = sorted({get_format_ending(item) for item in data})
    if len(kinds) > 1:
        raise DataError(
            f"files of several formats: {', '.join(kinds)}",
            remedy=f"name one, e.g. {pattern.rstrip('/')}/*{kinds[0]}",
            place=Place(pattern),
        )
    chosen = choose_split(splits := [files[item] for item in data], split)
    positions = [at for at, each in enumerate(chosen or [True] * len(data)) if each]
    return Readers(
        pattern,
        tuple(open_one(data[at]) for at in positions),
        tuple(splits[at] for at in positions),
        chosen is not None,
    )


@dataclass(frozen=True)
class FarReader:
    """The records of a file at an address, which each process that reads them fetches whole."""

    path: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        fetched = open_path_reader(self.path)
        assert fetched is not None
        yield from fetched.batches(columns, rows)


def open_far_reader(path: str, config: str | None = None, split: str | None = None) -> Reader:
    """Open the reader of what an address names, where it is: Parquet and plain JSON lines are not fetched whole.

    A fault of a file is raised once it is read.

    Args:
        path: of a file, a folder or a pattern with ``*``.
        config: see `open_path_reader`.
        split: see `open_path_reader`.

    Raises:
        DataError: see `open_path_reader`.
        UnreadableFile: a folder or pattern has no such file, or cannot be listed.
    """
    names = list_far_names(find_address(path) or path)
    if names is None:
        return _open_far_file(path)
    base = find_base(path)
    # Files without content under the same names let one function decide, here and there, which are read as what.
    with tempfile.TemporaryDirectory(prefix="prefboost-") as folder, rename_faults(folder, format_place(base)):
        for name in names:
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        if CARD in names:
            with open_bytes(f"{base}/{CARD}") as card:
                Path(folder, CARD).write_bytes(card.read())
        listed = list_files(f"{folder}{path.removeprefix(base)}", config) or {}
    files = {file.relative_to(folder): split_of_file for file, split_of_file in listed.items()}
    return _open_several(path, files, split, lambda name: _open_far_file(f"{base}/{name}"))


def _open_far_file(path: str) -> Reader:
    kind = FORMATS.get(get_format_ending(Path(path)))
    with suppress(Exception):  # every file system raises its own kinds; whoever fetches the file explains them
        head = read_range(path, 0, 4)
        if kind is ParquetReader and head == PARQUET_MAGIC:
            return ParquetReader(path)
        if kind is JsonReader and head.strip().startswith((b"{", BYTE_ORDER_MARK)):
            lines = JsonReader(path)
            if lines.holds_plain_lines():
                return lines
    return FarReader(path)
