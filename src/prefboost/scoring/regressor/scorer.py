"""The regressor scorer: ridge regression on sentence embeddings, fitted on data that somebody else has judged.

For plumbing and triage: on real judgements of GPT-4 such a model orders pairs hardly better than their lengths do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.chat import join_text
from prefboost.engines.desk import NOT_YET, Desk
from prefboost.engines.models.embeddings import Embedder
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.errors import ModelError, Place
from prefboost.preferences.scales.kinds import SCALES, Scale
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items, with_scores
from prefboost.scoring.stored import fill_numbers, key_of_ids
from prefboost.settings import Settings, choice
from prefboost.tables import Table

__all__ = ["SETTINGS_FILE", "WEIGHTS_FILE", "RegressorScorer", "embeddings_of", "features_of", "measure_log_lengths"]

SETTINGS_FILE = "regressor.json"
WEIGHTS_FILE = "regressor.safetensors"
FORMAT = 1

Text = tuple[str, str]
"""Prompt and completion."""


class RegressorScorer(Settings):
    """Scores completions by a small model that `prefboost fit-regressor` has fitted; for plumbing and triage."""

    kind: Literal["regressor"] = Field("regressor", description="Ridge regression on sentence embeddings.")
    model: str = Field(description="The folder that fit-regressor wrote.")
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_tokens: int = Field(16384, ge=1, description="Most tokens that are computed at once.")
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        None, description="Brings the score onto the scale that goals are said on; none keeps that of the judged data."
    )

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions, ScoredCompletions (whose scores are replaced), or PreferencePairs.

        Raises:
            ModelError: the folder holds no regressor.
            MissingExtra: torch is not installed.
        """
        return self.score_stored(table, Desk())

    def score_stored(self, table: Table, desk: Desk) -> Table:
        """Score at a desk: what its store holds is not computed again."""
        import numpy as np
        from safetensors.numpy import load_file

        folder = Path(self.model)
        try:
            written: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            if written["format"] != FORMAT:
                raise ValueError(f"format {written['format']}, this version reads {FORMAT}")
            weights: Mapping[str, Any] = load_file(folder / WEIGHTS_FILE)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"there is no regressor in {folder}: {error}",
                remedy="write one with `prefboost fit-regressor JUDGED -o FOLDER`",
            ) from error
        embedder = open_model(self.device, Embedder, written["embedder"], self.device, written["max_tokens"])
        if embedder.identity != written["embedder_identity"]:
            raise ModelError(
                f"{written['embedder']} is not the model that the regressor was fitted on",
                remedy="install that version of it, or fit the regressor again",
                place=Place(self.model),
            )
        items = list_scored_items(table)
        texts = [join_item_texts(item) for item in items]
        vectors = embeddings_of(embedder, texts, desk, self.batch_tokens)
        scores = Scores()
        for item, text, pair in zip(items, texts, vectors, strict=True):
            if pair is None:
                scores.faults[item.row, item.side] = (NOT_YET, "")
            else:
                features = (features_of([text], [pair]) - weights["mean"]) / weights["spread"]
                scores.values[item.row, item.side] = [float(np.dot(features[0], weights["slopes"]) + weights["at"][0])]
        notes = {"model": written["embedder_identity"], "for": "plumbing and triage", **written["held_out"]}
        return with_scores(table, scores, self.model_dump(mode="json"), notes, self.scale)


def join_item_texts(item: ScoredItem) -> Text:
    """Join the messages of prompt and completion, as the regressor sees them."""
    return join_text(item.prompt), join_text(item.completion)


def measure_log_lengths(texts: Sequence[Text]) -> Any:
    """Compute the log of the characters of each completion: [N], float64. The baseline."""
    import numpy as np

    return np.array([math.log1p(len(completion)) for _, completion in texts])


def features_of(texts: Sequence[Text], vectors: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Any:
    """Build the features: embedding of the completion, its product with the prompt's, their cosine,
    and the length.

    Returns:
        [N, 2 D + 3], float64.
    """
    import numpy as np

    prompts = np.array([prompt for prompt, _ in vectors])
    completions = np.array([completion for _, completion in vectors])
    product = prompts * completions
    lengths = measure_log_lengths(texts)[:, None]
    return np.hstack([completions, product, product.sum(1, keepdims=True), lengths, lengths**2])


def embeddings_of(
    embedder: Embedder, texts: Sequence[Text], desk: Desk, batch_tokens: int
) -> list[tuple[list[float], list[float]] | None]:
    """Embed prompts and completions, equal texts once; None where ``partial`` and the store lacks it."""
    ids = embedder.encode([part for text in texts for part in text])

    def plan(first: list[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        # By length, so that little of a batch is padding.
        for index in sorted(first, key=lambda index: (len(ids[index]), index)):
            if not batches or (len(batches[-1]) + 1) * len(ids[index]) > batch_tokens:
                batches.append([])
            batches[-1].append(index)
        return batches

    def compute(batch: Sequence[int]) -> list[list[float]]:
        return embedder.embed([ids[index] for index in batch])

    keys = [key_of_ids(embedder.identity, text) for text in ids]
    embeddings = fill_numbers(keys, plan, compute, desk, "embeddings", count_batches_at_once(embedder))
    pairs = zip(embeddings[::2], embeddings[1::2], strict=True)
    return [None if prompt is None or completion is None else (prompt, completion) for prompt, completion in pairs]
