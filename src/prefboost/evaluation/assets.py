"""Data of benchmarks, which are not shipped: location, checksum and licence of each file.

An asset is fetched on first use where downloading is allowed, checked against its sha256, and stored in the cache.
 ``data_dir`` holds files by asset name for machines without a network; they are checked like fetched ones.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from prefboost.atomic import write_atomically
from prefboost.engines.models.packaged import cache_folder
from prefboost.errors import DataError, Place
from prefboost.settings import Settings

__all__ = ["ASSETS", "Asset", "Assets"]


class Asset(NamedTuple):
    """One file.

    Args:
        url: address in the named revision.
        revision: commit or tag.
        sha256: checksum of its bytes.
        licence: SPDX name.
        is_for: purpose, for messages.
        git_blob: its id in git, which checks it where no sha256 is known.
    """

    url: str
    revision: str
    sha256: str
    licence: str
    is_for: str
    git_blob: str = ""

    @property
    def filename(self) -> str:
        """Name of the file at its source."""
        return self.url.rpartition("/")[2]


def _on_github(repository: str, revision: str, path: str, sha256: str, is_for: str) -> Asset:
    url = f"https://raw.githubusercontent.com/{repository}/{revision}/{path}"
    return Asset(url, revision, sha256, "Apache-2.0", is_for)


def _alpaca(filename: str, sha256: str, is_for: str) -> Asset:
    revision = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
    url = f"https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/{revision}/{filename}"
    return Asset(url, revision, sha256, "CC-BY-NC-4.0", is_for)


_ARENA = ("lmarena/arena-hard-auto", "196f6b826783b3da7310e361a805fa36f0be83f3")
_FASTCHAT = ("lm-sys/FastChat", "0e6d3e4beaab66f4d3f93db72541a4abab8af28d")
_MT = "fastchat/llm_judge/data/mt_bench"

ASSETS: Mapping[str, Asset] = {
    "alpaca_eval_baseline": _alpaca(
        "alpaca_eval_gpt4_baseline.json",
        "83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4",
        "the 805 prompts and the baseline's answers",
    ),
    "alpaca_eval_gamed": _alpaca(
        "df_gamed.csv",
        "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d",
        "rows that keep the length-controlled fit from being gamed",
    ),
    "alpaca_eval_difficulty": _alpaca(
        "instruction_difficulty.csv",
        "e28d875bb334f75e17acd1e4ed659b261860e3db379cf5de29060301bed0a18b",
        "how hard each of the 805 prompts is",
    ),
    "arena_hard_v01_questions": _on_github(
        *_ARENA,
        "data/arena-hard-v0.1/question.jsonl",
        "2650242d2883f22b2abd498f273b6a7e02253cce533f5c91a858e1d44aa3002f",
        "500 prompts",
    ),
    "arena_hard_v01_baseline": _on_github(
        *_ARENA,
        "data/arena-hard-v0.1/model_answer/gpt-4-0314.jsonl",
        "0f6abc84de4600fde987d9db70f838f4ecdbd27a2f1f4058c12aa322a6f791b2",
        "answers of gpt-4-0314",
    ),
    "arena_hard_v20_questions": _on_github(
        *_ARENA,
        "data/arena-hard-v2.0/question.jsonl",
        "a75cef6623db6b27aec810497b059f0659705d7ff48dcbccc5bd5b130728ac73",
        "500 hard and 250 creative prompts",
    ),
    "arena_hard_v20_baseline": _on_github(
        *_ARENA,
        "data/arena-hard-v2.0/model_answer/o3-mini-2025-01-31.jsonl",
        "c23a7c255eead99f7f86ad48aa1d8ccdb5b3334f2097e0e1e09184df87265e03",
        "answers of o3-mini-2025-01-31",
    ),
    "arena_hard_v20_creative_baseline": _on_github(
        *_ARENA,
        "data/arena-hard-v2.0/model_answer/gemini-2.0-flash-001.jsonl",
        "",
        "answers of gemini-2.0-flash-001",
    )._replace(git_blob="75513a4feb8e2f642a9bdb952d1c3ed245b9c952"),
    "mt_bench_questions": _on_github(
        *_FASTCHAT,
        f"{_MT}/question.jsonl",
        "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
        "80 questions of two turns",
    ),
    "mt_bench_references": _on_github(
        *_FASTCHAT,
        f"{_MT}/reference_answer/gpt-4.jsonl",
        "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
        "the published reference answers, 13 of 30 of which are wrong",
    ),
    "mt_bench_references_gpt4_0125": _on_github(
        "lm-sys/FastChat",
        "71aa329da2b17f387929ae6f5b3a453804e885cd",
        f"{_MT}/reference_answer/gpt-4-0125-preview.jsonl",
        "e484037da5cc14007dde1d821ef76046fccbd0b2f095237fad9ead2c4fc66800",
        "reference answers of gpt-4-0125-preview, which mend the wrong ones (FastChat pull request 3158)",
    ),
}
"""Name -> file."""


class Assets(Settings):
    """Locations of benchmarks' data."""

    data_dir: Path | None = Field(
        None, description="Folder with files NAME.json, NAME.jsonl or NAME.csv, or under their published names."
    )
    download: bool = Field(False, description="Fetch what is not there, after its licence was named; off: only say so.")
    offline: bool = Field(False, description="Never use the network, whatever download says.")
    timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for a server.")

    def path(self, name: str, assets: Mapping[str, Asset] = ASSETS) -> Path:
        """Return the file of an asset, after fetching it where that is allowed.

        Args:
            name: name in `ASSETS`.
            assets: assets by name.

        Raises:
            DataError: no such asset; it is absent and may not be fetched; the server does not give it; or its bytes
                differ from those of the named revision.
        """
        if name not in assets:
            raise DataError(f"there is no asset {name}", remedy=f"the assets are {', '.join(assets)}")
        asset = assets[name]
        file = asset.filename
        # Not the published name alone: several files are called question.jsonl there.
        file_of_user = f"{name}{Path(file).suffix}"
        places = [cache_folder() / "assets" / name / asset.revision[:12] / file]
        if self.data_dir is not None:
            places = [self.data_dir / file_of_user, self.data_dir / name / file, self.data_dir / file, *places]
        # A file of the user is checked too: figures on another revision would not be comparable.
        for path in places:
            if path.is_file():
                _check_content(path.read_bytes(), asset, path)
                return path
        if self.offline or not self.download:
            by_hand = f"put {asset.url} into data_dir as {file_of_user}"
            raise DataError(
                f"{name} ({asset.is_for}; {asset.licence}) is not on this machine",
                remedy=by_hand if self.offline else f"set download to fetch it, or {by_hand}",
            )
        try:
            with urllib.request.urlopen(asset.url, timeout=self.timeout_s) as reply:
                content = reply.read()
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise DataError(
                f"{name} could not be fetched from {asset.url}: {error}",
                remedy=f"try again, or put it into data_dir as {file}",
            ) from error
        _check_content(content, asset, places[-1])
        write_atomically(places[-1], content)
        return places[-1]


def _check_content(content: bytes, asset: Asset, path: Path) -> None:
    kind, expected = ("sha256", asset.sha256) if asset.sha256 else ("git id", asset.git_blob)
    # A blob's id in git is the SHA-1 of its size and its bytes.
    blob = b"blob %d\0" % len(content) + content
    digest = hashlib.sha256(content).hexdigest() if asset.sha256 else hashlib.sha1(blob).hexdigest()
    if digest != expected:
        raise DataError(
            f"{asset.filename} has {kind} {digest[:12]}..., revision {asset.revision[:12]} has {expected[:12]}...",
            remedy=f"delete it and fetch {asset.url} again",
            place=Place(str(path)),
        )
