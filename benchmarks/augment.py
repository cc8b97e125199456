"""How fast `augment` is, and how much memory it takes: one run prints every ratio.

    python benchmarks/augment.py [--data scored.parquet] [--rows 600000] [--big 6000000] [--shape pairs] [--quick]

The input is made from the texts of a scored file, or of random words with the same lengths where there is none, in one
of two shapes:

- completions: a prompt with four scored completions a row, as UltraFeedback has them (and the scored file itself);
- pairs: prompt, chosen, rejected as messages, two scores, as binarized preference sets have them.

Each contender runs in a process of its own and writes Parquet:

- ours: the command `prefboost augment`, with its checks, card, manifest and rejects;
- read + write: Polars reads the input and writes our output, no work in between; once with its defaults, once with
  the compression level that ours has;
- datasets.map: what the two published scripts (arXiv 2410.08067: preprocess.py, reward_augmentation.py) do, row by row:
  pair (best against random; completions only), filter, the goal as a system message in front of both sides, both sides
  swapped for the second goal, the two sets concatenated. Left out are their filters for TruthfulQA and for empty turns.
  Once with the numbers of processes that the scripts have, once with two everywhere.

The last line is JSON. Times are of whole processes, imports included, the best of --repeats for ours and read + write;
memory is the peak of the process (ru_maxrss). The memory test needs some 40 GB of disk for 6,000,000 rows (--folder);
--memory-only runs nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from prefboost.sources.writers.file_types import LEVEL

CHUNK = 20_000
COMPLETIONS = 4
SIDES = ("chosen", "rejected")
UNCOUNTED = "uncounted_seconds"
GOAL_TEXT = (
    "You are an assistant that generates responses for the instruction while implicitly achieving the following target "
    "scores (on a scale of 1-10, where 1 is lowest and 10 is highest):\nOverall score: {}."
)
COMMAND = "from prefboost.cli.main import main; main()"
SET_BY_POLARS = "_RJEM_MALLOC_CONF"
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "alpacaeval_scored.parquet"


def main() -> None:
    options = _options()
    if options.contender:
        CONTENDERS[options.contender](options.input, options.output)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="prefboost-benchmark-") as folder:
        result = _remember(options, Path(folder)) if options.memory_only else _compare(options, Path(folder))
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED if SHARED.exists() else None, help="a scored Parquet file")
    parser.add_argument("--rows", type=int, default=600_000, help="rows of the input")
    parser.add_argument("--big", type=int, default=6_000_000, help="rows of the memory test; 0 skips it")
    parser.add_argument("--shape", choices=("completions", "pairs"), default="completions", help="of the input")
    parser.add_argument("--repeats", type=int, default=2, help="runs of ours and of read + write; the best counts")
    parser.add_argument("--quick", action="store_true", help="20,000 rows, 60,000 for the memory test")
    parser.add_argument("--memory-only", action="store_true", help="the memory test alone")
    parser.add_argument("--no-map", action="store_true", help="leave datasets.map out")
    parser.add_argument("--folder", type=Path, default=None, help="where files are written (default: the system's)")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--input", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.big, options.repeats = 20_000, 60_000, 1
    return options


def _compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    texts = _texts(options.data)
    source = folder / f"{options.shape}.parquet"
    _make(source, texts, options.rows)
    print(f"{options.rows:,} rows of {options.shape}, {source.stat().st_size / 2**20:,.0f} MiB of Parquet", flush=True)
    ours = _best(options.repeats, "ours", source, folder)
    plain = _best(options.repeats, "read_write", source, folder)
    level = _best(options.repeats, "read_write_level", source, folder)
    result = {
        "vs_datasets_map": None,
        "vs_read_write": round(ours[0] / plain[0], 3),
        "vs_read_write_same_level": round(ours[0] / level[0], 3),
        "peak_gib": round(ours[1], 3),
        "rows": options.rows,
        "shape": options.shape,
        "seconds": round(ours[0], 2),
        "seconds_read_write": round(plain[0], 2),
        "peak_gib_read_write": round(plain[1], 3),
    }
    for name in ("ours", "read_write", "read_write_level"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if not options.no_map:
        rivals = {name: _run(name, source, folder)[0] for name in ("datasets_map", "datasets_map_2")}
        result["seconds_datasets_map"] = {name: round(seconds, 2) for name, seconds in rivals.items()}
        result["vs_datasets_map"] = round(min(rivals.values()) / ours[0], 2)
        result["vs_datasets_map_default"] = round(rivals["datasets_map"] / ours[0], 2)
    source.unlink()
    if options.big:
        result |= _remember(options, folder)
    _print(result)
    return result


def _remember(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The memory that ours takes for ten times the rows."""
    source = folder / f"{options.shape}.parquet"
    _make(source, _texts(options.data), options.big)
    seconds, peak = _run("ours", source, folder)
    return {"big_rows": options.big, "big_seconds": round(seconds, 1), "big_peak_gib": round(peak, 3)}


def _print(result: dict[str, Any]) -> None:
    print(
        f"augment takes {result['vs_read_write']} x the time of reading the input and writing the output with Polars, "
        f"{result['vs_read_write_same_level']} x at the same compression level"
    )
    if result["vs_datasets_map"]:
        print(
            f"augment is {result['vs_datasets_map']} x faster than datasets.map at its best, "
            f"{result['vs_datasets_map_default']} x at its default"
        )
    print(f"peak memory of augment: {result['peak_gib']} GiB on {result['rows']:,} rows")
    if "big_rows" in result:
        print(f"peak memory of augment: {result['big_peak_gib']} GiB on {result['big_rows']:,} rows")


def _best(repeats: int, contender: str, source: Path, folder: Path) -> tuple[float, float]:
    runs = [_run(contender, source, folder) for _ in range(repeats)]
    return min(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def _run(contender: str, source: Path, folder: Path) -> tuple[float, float]:
    """Seconds from start to end of a process, and its peak memory in GiB."""
    out = folder / contender
    shutil.rmtree(out, ignore_errors=True)
    arguments = [sys.executable, __file__, "--contender", contender, "--input", str(source), "--output", str(out)]
    if contender == "ours":
        arguments = [sys.executable, "-c", COMMAND, "augment", str(source), "-o", str(out), "--quiet"]
    own = {"HF_DATASETS_CACHE": str(folder / "cache"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != SET_BY_POLARS}
    environment = {**inherited, **own}
    begin = time.perf_counter()
    child = os.posix_spawn(sys.executable, arguments, environment)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{contender} failed with status {status}")
    seconds -= float((out / UNCOUNTED).read_text()) if (out / UNCOUNTED).exists() else 0.0
    peak, busy = usage.ru_maxrss / 2**20, usage.ru_utime + usage.ru_stime
    print(f"{contender:<18} {seconds:8.2f} s   {busy:8.2f} s of CPU   peak {peak:6.2f} GiB", flush=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return seconds, peak


def _read_write(source: Path, out: Path, level: int | None) -> None:
    """Read the input and write our output. Getting our output into memory is not counted."""
    out.mkdir()
    pl.read_parquet(source)
    begin = time.perf_counter()
    ours = pl.read_parquet(out.parent / "ours" / "data" / "*.parquet")
    uncounted = time.perf_counter() - begin
    ours.write_parquet(out / "data.parquet", compression="zstd", compression_level=level)
    (out / UNCOUNTED).write_text(str(uncounted))


def _map(source: Path, out: Path, pairing: int, filtering: int, goals: int | None) -> None:
    """The published scripts; their numbers of processes are 8 for pairing and filters, the default for goals."""
    import datasets

    rows = datasets.load_dataset("parquet", data_files=str(source), split="train")
    if source.stem == "completions":
        random.seed(42)
        rows = rows.map(_format_prompt, num_proc=pairing, remove_columns=rows.column_names)
        rows = rows.filter(lambda row: row["score_chosen"] != -100 or row["score_rejected"] != -100, num_proc=filtering)
    rows = rows.filter(lambda row: row["score_chosen"] >= row["score_rejected"], num_proc=filtering)
    views = [rows.map(goal, num_proc=goals) for goal in (_add_pos_goal, _add_neg_goal)]
    out.mkdir()
    datasets.concatenate_datasets(views).to_parquet(out / "data.parquet")


def _format_prompt(row: dict[str, Any]) -> dict[str, Any]:
    scored = [(each["overall_score"], each["response"], each["model"]) for each in row["completions"]]
    chosen = max(scored, key=lambda each: each[0])
    rejected = random.choice(scored)
    while rejected == chosen:
        rejected = random.choice(scored)
    asked = {"role": "user", "content": row["instruction"]}
    return {
        "prompt": row["instruction"],
        "prompt_id": hashlib.sha256(row["instruction"].encode()).hexdigest(),
        "chosen": [asked, {"role": "assistant", "content": chosen[1]}],
        "rejected": [asked, {"role": "assistant", "content": rejected[1]}],
        "score_chosen": chosen[0],
        "score_rejected": rejected[0],
    }


def _system(score: float) -> dict[str, str]:
    return {"role": "system", "content": GOAL_TEXT.format(int(score) if int(score) == score else score)}


def _add_pos_goal(row: dict[str, Any]) -> dict[str, Any]:
    system = _system(row["score_chosen"])
    row["chosen"].insert(0, system)
    row["rejected"].insert(0, system)
    return row


def _add_neg_goal(row: dict[str, Any]) -> dict[str, Any]:
    system = _system(row["score_rejected"])
    row["chosen"], row["rejected"] = [system, *row["rejected"]], [system, *row["chosen"]]
    return row


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "read_write": lambda source, out: _read_write(source, out, None),
    "read_write_level": lambda source, out: _read_write(source, out, LEVEL),
    "datasets_map": lambda source, out: _map(source, out, 8, 8, None),
    "datasets_map_2": lambda source, out: _map(source, out, 2, 2, 2),
}


def _make(path: Path, answers: pl.DataFrame, rows: int) -> None:
    """Rows with random answers to one prompt; a number at the end of each text makes it unique."""
    per_row = 2 if path.stem == "pairs" else COMPLETIONS
    shaped = _pairs if path.stem == "pairs" else _completions
    answers = answers.filter(pl.len().over("prompt") > per_row)
    draw = np.random.default_rng(0)
    writer = None
    for begin in range(0, rows, CHUNK):
        size = min(CHUNK, rows - begin)
        mixed = answers.sample(fraction=1, shuffle=True, seed=begin).sort("prompt", maintain_order=True)
        mixed = mixed.with_row_index("at").with_columns(
            first=pl.col("at").min().over("prompt"), count=pl.len().over("prompt")
        )
        one = mixed[draw.integers(0, mixed.height, size)]
        several = [mixed[one["first"] + (one["at"] - one["first"] + n) % one["count"]] for n in range(per_row)]
        mark = " [" + pl.Series(range(begin, begin + size)).cast(pl.String) + "]"
        table = shaped(several, mark).to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=CHUNK)
    if writer is not None:
        writer.close()


def _completions(several: list[pl.DataFrame], mark: pl.Series) -> pl.DataFrame:
    made = [
        pl.DataFrame({"response": each["text"] + mark, "overall_score": each["score"], "model": each["model"]})
        for each in several
    ]
    columns = {f"c{n}": each.to_struct() for n, each in enumerate(made)}
    frame = pl.DataFrame({"instruction": several[0]["prompt"] + mark, **columns})
    return frame.select("instruction", completions=pl.concat_list(list(columns)))


def _pairs(several: list[pl.DataFrame], mark: pl.Series) -> pl.DataFrame:
    one, other = several
    better = one["score"] >= other["score"]
    winners = {name: one[name].zip_with(better, other[name]) for name in ("text", "score")}
    losers = {name: other[name].zip_with(better, one[name]) for name in ("text", "score")}
    frame = pl.DataFrame(
        {"prompt": one["prompt"] + mark, "chosen": winners["text"] + mark, "rejected": losers["text"] + mark}
    )
    asked = pl.struct(content="prompt", role=pl.lit("user"))
    return frame.select(
        "prompt",
        *[pl.concat_list(asked, pl.struct(content=name, role=pl.lit("assistant"))).alias(name) for name in SIDES],
        score_chosen=winners["score"],
        score_rejected=losers["score"],
    )


def _texts(data: Path | None) -> pl.DataFrame:
    """prompt, text, score, model of real answers, or of random words whose lengths are spread as theirs are."""
    if data is not None:
        answers = pl.read_parquet(data).explode("completions").unnest("completions")
        return answers.select(
            "model", prompt="instruction", text="response", score=pl.col("overall_score").cast(pl.Float64).clip(1, 10)
        )
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(5000)]

    def text(characters: float) -> str:
        return " ".join(draw.choices(words, k=max(1, int(characters / 6.5))))

    prompts = [text(draw.lognormvariate(4.6, 0.9)) for _ in range(660)]
    return pl.DataFrame(
        [
            {
                "prompt": prompt,
                "text": text(draw.lognormvariate(6.8, 0.9)),
                "score": round(draw.uniform(1, 10), 2),
                "model": f"model {number}",
            }
            for prompt in prompts
            for number in range(22)
        ]
    )


if __name__ == "__main__":
    main()
