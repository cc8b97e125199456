"""The regressor scorer: ridge regression on sentence embeddings, fitted on data that somebody else has judged.

For plumbing and triage: on real judgements of GPT-4 such a model orders pairs hardly better than their lengths do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.chat import join_text
from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.engines.models.embeddings import Embedder
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.errors import ModelError, Place
from prefboost.preferences.scales.kinds import SCALES, Scale
from prefboost.scoring.sides import ScoredItem, ScoredItems, Scores, with_scores
from prefboost.scoring.stored import compute_numbers, cut_pieces, key_of_ids
from prefboost.settings import Settings, choice
from prefboost.tables import Table

__all__ = ["SETTINGS_FILE", "WEIGHTS_FILE", "RegressorScorer", "embeddings_of", "features_of", "measure_log_lengths"]

SETTINGS_FILE = "regressor.json"
WEIGHTS_FILE = "regressor.safetensors"
FORMAT = 1

_ENCODED_AT_ONCE = 256
_PIECE_TEXTS = 4_000
"""Texts that are planned together; embeddings take a hundred times the memory of a score."""

Text = tuple[str, str]
"""Prompt and completion."""

Vector = Any
"""Embedding of a text: [D], float64."""


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
        return self.score_stored(table, CallSession())

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """Score within a session: what its store holds is not computed again."""
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
        items = ScoredItems(table)
        texts = (join_item_texts(item) for item in items)
        scores = Scores()
        for index, text, pair in embeddings_of(embedder, texts, len(items), session, self.batch_tokens):
            if pair is None:
                scores.faults[items.find_key(index)] = (NOT_YET, "")
            else:
                features = (features_of([text], [pair]) - weights["mean"]) / weights["spread"]
                score = float(np.dot(features[0], weights["slopes"]) + weights["at"][0])
                scores.values[items.find_key(index)] = [score]
        notes = {"model": written["embedder_identity"], "for": "plumbing and triage", **written["held_out"]}
        return with_scores(table, scores, self.model_dump(mode="json"), notes, self.scale)


def join_item_texts(item: ScoredItem) -> Text:
    """Join the messages of prompt and completion, as the regressor sees them."""
    return join_text(item.prompt), join_text(item.completion)


def measure_log_lengths(texts: Sequence[Text]) -> Any:
    """Compute the log of the characters of each completion: [N], float64. The baseline."""
    import numpy as np

    return np.array([math.log1p(len(completion)) for _, completion in texts])


def features_of(texts: Sequence[Text], vectors: Sequence[tuple[Vector, Vector]]) -> Any:
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
    embedder: Embedder, texts: Iterable[Text], total: int, session: CallSession, batch_tokens: int
) -> Iterator[tuple[int, Text, tuple[Vector, Vector] | None]]:
    """Embed prompts and completions, equal texts of a piece once.

    Args:
        embedder: the model.
        texts: prompts with completions; drawn piece by piece.
        total: of them.
        session: its store holds what has been computed.
        batch_tokens: most tokens that are computed at once.

    Yields:
        (place in ``texts``, the text, its two embeddings), as batches finish; None where ``partial`` and the store
        lacks one.
    """
    import numpy as np

    # Of completions whose embeddings have not both come.
    waiting: dict[int, Text] = {}
    vectors: dict[int, Vector | None] = {}

    def encode() -> Iterator[tuple[int, str, list[int]]]:
        index = 0
        for chunk in cut_pieces(texts, _ENCODED_AT_ONCE):
            ids = embedder.encode([part for text in chunk for part in text])
            waiting.update(enumerate(chunk, index // 2))
            for each in ids:
                yield index, key_of_ids(embedder.identity, each), each
                index += 1

    def plan(ids: list[list[int]]) -> list[list[int]]:
        batches: list[list[int]] = []
        # By length, so that little of a batch is padding.
        for index in sorted(range(len(ids)), key=lambda index: (len(ids[index]), index)):
            if not batches or (len(batches[-1]) + 1) * len(ids[index]) > batch_tokens:
                batches.append([])
            batches[-1].append(index)
        return batches

    at_once = count_batches_at_once(embedder)
    for index, values in compute_numbers(
        encode(), 2 * total, plan, embedder.embed, session, "embeddings", at_once=at_once, piece_items=_PIECE_TEXTS
    ):
        # An array: a list of numbers takes four times its memory.
        vectors[index] = None if values is None else np.array(values)
        prompt, completion = index // 2 * 2, index // 2 * 2 + 1
        if prompt in vectors and completion in vectors:
            first, second = vectors.pop(prompt), vectors.pop(completion)
            pair = None if first is None or second is None else (first, second)
            yield index // 2, waiting.pop(index // 2), pair
