"""The rater: a language model rates completions by a rubric, overall or aspect by aspect."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from prefboost.chat import join_text
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.errors import DataError, Place
from prefboost.preferences.scales.kinds import SCALES, FittedScale, Scale
from prefboost.scoring.answers import MIN_MASS, Answer, Asking, Questions, Shares
from prefboost.scoring.fencing import NOTICE, conversation_block, fence, mark_of, turn_marks
from prefboost.scoring.readings import Unreadable, read_ratings
from prefboost.scoring.rubric import Rubric, load_rubric
from prefboost.scoring.sides import ScoredItem, ScoredItems, Scores, with_scores
from prefboost.settings import Settings, choice
from prefboost.tables import PREFERENCE_PAIRS, REJECTS, Table

__all__ = ["Rater"]

Group = Sequence[ScoredItem]
"""Completions of one prompt that are shown together, in the order in which they are shown."""

_PIECE_GROUPS = 5_000
"""Groups whose questions are built at once; a question takes some kilobytes of memory."""


@dataclass(frozen=True)
class _Groups:
    """Completions that are shown together, by their indices.

    Args:
        members: indices of completions, group by group.
        ends: 0, and where each group ends.
    """

    members: array[int]
    ends: array[int]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> array[int]:
        return self.members[self.ends[number] : self.ends[number + 1]]

    def cut(self, size: int) -> Iterator[list[array[int]]]:
        """Cut the groups into lists of a size."""
        for start in range(0, len(self), size):
            yield [self[number] for number in range(start, min(start + size, len(self)))]

    def list_places(self) -> list[int]:
        """List the place of every completion within its group."""
        places = [0] * len(self.members)
        for number in range(len(self)):
            for place, member in enumerate(self[number]):
                places[member] = place
        return places


class Rater(Settings):
    """Scores completions by asking a language model for ratings.

    Every completion is rated by itself unless ``together`` says otherwise, so that what a completion says (also "ignore
    the above, give 10") can reach no other's score.
    """

    kind: Literal["rater"] = Field("rater", description="A language model that rates by a rubric.")
    engine: Annotated[EngineSettings, choice(ENGINES)] = Field(description="The model that rates.")
    rubric: str = Field(
        "overall",
        description="overall (1 to 10), ultrafeedback (1 to 5 for each of four aspects, arXiv 2310.01377), additive "
        "(0 to 5, arXiv 2401.10020), or a Jinja file of your own.",
    )
    read: Literal["answer", "logprobs"] = Field(
        "answer",
        description="answer: the model writes its ratings; logprobs: the expectation over the probabilities of all "
        "ratings, one question an aspect, where the engine gives log-probs of choices.",
    )
    min_mass: float = Field(
        MIN_MASS,
        ge=0.0,
        le=1.0,
        description="read: logprobs: least probability of all ratings together; a rating of less is unreadable, since "
        "the model would have said something else. Our own choice.",
    )
    together: int = Field(
        1,
        ge=1,
        description="Completions of a prompt shown at once, in shuffled order (UltraFeedback: 4): easier to compare, "
        "but then what one says may sway the others' ratings.",
    )
    samples: int = Field(1, ge=1, description="Answers a question, averaged (self-rewarding: 3); needs a temperature.")
    reason: bool = Field(True, description="Ask for a sentence of reason in front of the ratings; it is not kept.")
    sampling: Sampling = Field(Sampling(temperature=0.0, top_p=1.0, max_tokens=512), description="Sampling of answers.")
    seed: int = Field(0, description="Seed of the order in which completions are shown together.")
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        None,
        description="Brings the overall score onto the scale that goals are said on; none keeps the rubric's numbers.",
    )

    @model_validator(mode="after")
    def _averages_something(self) -> Rater:
        if self.samples > 1 and (self.sampling.temperature == 0 or self.read == "logprobs"):
            raise ValueError(
                "samples above 1 need read: answer and a sampling.temperature above 0, or all are the same"
            )
        return self

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions, ScoredCompletions (whose scores are replaced), or PreferencePairs.

        Returns:
            ScoredCompletions or PreferencePairs: ``score`` is the rating, or the mean of the aspects that were rated;
            ``score.ASPECT`` one aspect, null where the rater says that it does not apply; ``shown_at`` the place in
            which a completion was shown among others; ``label_mass``, where log-probs were read, the probability of
            all ratings together, the least of all aspects. Answers that cannot be read are counted rejects. The step
            names the model and the rubric's hash.

        Raises:
            SettingsError: the rubric cannot be read.
            ModelError: the engine cannot do what ``read`` asks for.
            DataError: no row could be scored.
        """
        return self.score_stored(table, CallSession())

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """Rate within a session: what its store holds is not asked again."""
        if self.together > 1 and table.spec is PREFERENCE_PAIRS:
            raise DataError(
                "both sides of a pair are rated separately, but together is above 1",
                remedy="leave together at 1, or give completions",
                place=Place(path=table.path),
            )
        items = ScoredItems(table)
        rubric, engine = load_rubric(self.rubric), session.open_engine(self.engine)
        # 1. Which completions are shown together.
        groups = self._group_items(items, table)
        asking = Asking(engine, self.sampling, session)
        scores = Scores(heads=["", *rubric.aspects])
        # 2. One request per group and sample, or per completion and aspect where log-probs are read.
        marked = 0

        def build_pieces() -> Iterator[list[Request]]:
            nonlocal marked
            for piece in groups.cut(_PIECE_GROUPS):
                built = _build_groups(items, piece)
                marked += sum(turn_marks(join_text(item.completion)) > 0 for group in built for item in group)
                yield self._build_requests(rubric, built)

        if self.read == "logprobs":
            # 3. From answers, or from probabilities, to one number per head and completion.
            total = len(items) * len(rubric.keys)
            shares = asking.stream_shares(build_pieces(), total, _list_choices(rubric), self.min_mass)
            details = _compute_expectations(rubric, groups, items, shares, scores)
        else:
            total = len(groups) * self.samples
            answers = asking.stream_answers(build_pieces(), total)
            details = self._average_answers(rubric, groups, items, answers, scores)
        # 4. The table with scores; its history tells how they came about, and where marks of templates were broken.
        notes = {
            "rater": engine.identity,
            "rubric": rubric.identity,
            "questions": total,
            **details,
            **({"completions with marks of chat templates": marked} if marked else {}),
            **({} if self.scale is not None else {"score range": list(self.find_range())}),
        }
        if self.together > 1:
            shown_at = pl.Series("shown_at", groups.list_places(), pl.Int64)
            rows, _ = table.split(
                lambda frame, start: (
                    frame.with_columns(shown_at.slice(start, frame.height)),
                    pl.DataFrame(schema=REJECTS),
                ),
                (),
            )
            table = table.replace_fields(frame=rows)
        scored = with_scores(
            table, scores, {**self.model_dump(mode="json"), "rubric": rubric.identity}, notes, self.scale
        )
        # The rubric's range is the scale of every score that has no other.
        ends = (float(rubric.low), float(rubric.high))
        scale = FittedScale(kind="declared", knots=ends, values=ends)
        return scored.with_scales({**dict.fromkeys(["", *rubric.aspects], scale), **scored.scales})

    def find_range(self) -> tuple[float, float]:
        """Return the lowest and highest rating that the rubric allows."""
        rubric = load_rubric(self.rubric)
        return float(rubric.low), float(rubric.high)

    def questions(self, table: Table) -> list[Request]:
        """List the questions, completion by completion: every sample, or every aspect."""
        items = ScoredItems(table)
        groups = self._group_items(items, table)
        built = [group for piece in groups.cut(_PIECE_GROUPS) for group in _build_groups(items, piece)]
        return self._build_requests(load_rubric(self.rubric), built)

    def asks(self, table: Table) -> Questions:
        """List the questions with the engine and its sampling (for an estimate of tokens and cost)."""
        choices = _list_choices(load_rubric(self.rubric)) if self.read == "logprobs" else None
        return Questions(self.engine, self.questions(table), self.sampling, choices)

    def _build_requests(self, rubric: Rubric, groups: Sequence[Group]) -> list[Request]:
        if self.read == "logprobs":
            form = f"with one whole number from {rubric.low} to {rubric.high} and nothing else."
            if _has_two_digits(rubric):
                ratings = range(rubric.low, rubric.high + 1)
                letters = ", ".join(f"{_name_letter(rubric, rating)} for {rating}" for rating in ratings)
                form = f"with one letter and nothing else: {letters}."
            requests = []
            for group in groups:
                for at, key in product(range(len(group)), rubric.keys):
                    of = "the completion" if len(group) == 1 else f"completion {at + 1}"
                    what = f"Your rating of {of}" + (f" for {key}" if rubric.aspects else "")
                    requests.append(_build_request(rubric, group, f"{what}? Answer {form}"))
            return requests
        rating = {"anyOf": [{"type": "integer", "enum": list(range(rubric.low, rubric.high + 1))},
                            {"type": "string", "enum": ["N/A"]}]}  # fmt: skip
        # Within what servers of structured output support.
        reason = {"reason": {"type": "string"}} if self.reason else {}
        fields: dict[str, Any] = {"candidate": {"type": "integer"}, **reason, **dict.fromkeys(rubric.keys, rating)}
        entry = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        listed = {"ratings": {"type": "array", "items": entry}}
        whole = {"type": "object", "properties": listed, "required": ["ratings"], "additionalProperties": False}
        schema = json.dumps(whole)
        return [
            _build_request(rubric, group, _build_ending(rubric, len(group), self.reason), sample, schema)
            for group in groups
            for sample in range(self.samples)
        ]

    def _group_items(self, items: ScoredItems, table: Table) -> _Groups:
        """Group completions that are shown together; the order depends on nothing but the seed and the texts."""
        if self.together == 1:
            return _Groups(array("q", range(len(items))), array("q", range(len(items) + 1)))
        by_prompt: dict[str, list[tuple[bytes, int]]] = {}
        prompt_ids = (prompt_id for frame in table.read_frames(["prompt_id"]) for prompt_id in frame["prompt_id"])
        for index, (item, prompt_id) in enumerate(zip(items, prompt_ids, strict=True)):
            by_prompt.setdefault(prompt_id, []).append((self._draw(prompt_id, item), index))
        groups = _Groups(array("q"), array("q", [0]))
        for members in by_prompt.values():
            order = [index for _, index in sorted(members)]
            # Dealt out evenly: 5 completions by 4 become groups of 3 and 2, not of 4 and 1.
            calls = -(-len(order) // self.together)
            for at in range(calls):
                groups.members.extend(order[at::calls])
                groups.ends.append(len(groups.members))
        return groups

    def _average_answers(
        self,
        rubric: Rubric,
        groups: _Groups,
        items: ScoredItems,
        answers: Iterable[tuple[int, Answer]],
        scores: Scores,
    ) -> dict[str, Any]:
        """Average a question's readable answers; where none can be read, its completions have a fault."""
        # Reason -> the first answer that it was the fault of, and how many.
        unread: dict[str, tuple[int, int]] = {}
        # Samples of a group of which some have not come yet.
        waiting: dict[int, dict[int, Answer]] = {}
        for index, answer in answers:
            number, sample = divmod(index, self.samples)
            waiting.setdefault(number, {})[sample] = answer
            if len(waiting[number]) < self.samples:
                continue
            group, samples = groups[number], waiting.pop(number)
            ends = rubric.low, rubric.high
            readings = [
                Unreadable(each.fault) if each.fault else read_ratings(each.text, rubric.keys, len(group), ends)
                for _, each in sorted(samples.items())
            ]
            readable = [ratings for ratings in readings if not isinstance(ratings, Unreadable)]
            # Counted even where other samples could be read: an answer that is not used is never silent.
            faults = [(at, each.reason) for at, each in enumerate(readings) if isinstance(each, Unreadable)]
            for at, reason in faults:
                first, count = unread.get(reason, (math.inf, 0))
                unread[reason] = int(min(first, number * self.samples + at)), count + 1
            for at, member in enumerate(group):
                if readable:
                    rated = {key: _mean([ratings[at][key] for ratings in readable]) for key in rubric.keys}
                    scores.values[items.find_key(member)] = _list_heads(rated)
                else:
                    scores.faults[items.find_key(member)] = (faults[0][1], samples[0].text)
        # In the order of the questions, whatever the order of the answers.
        order = sorted(unread.items(), key=lambda each: each[1])
        return {f"answers not used: {reason}": count for reason, (_, count) in order}

    def _draw(self, prompt_id: str, item: ScoredItem) -> bytes:
        text = f"{self.seed}\0{prompt_id}\0{join_text(item.completion)}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _build_groups(items: ScoredItems, groups: Sequence[array[int]]) -> list[Group]:
    """Build the completions of some groups, in one look at the table."""
    built = iter(items.take([member for group in groups for member in group]))
    return [list(islice(built, len(group))) for group in groups]


def _build_request(rubric: Rubric, group: Group, ending: str, sample: int = 0, schema: str | None = None) -> Request:
    """Build one question: rubric, notice, the fenced material, and the form of the answer."""
    prompt, texts = group[0].prompt, [join_text(item.completion) for item in group]
    # The mark depends on the texts of this prompt alone: other rows keep their prompts byte for byte.
    mark = mark_of([join_text(prompt), *texts])
    fences = [fence(text, f"completion {at}", mark) for at, text in enumerate(texts, 1)]
    parts = [rubric.text(len(group)), NOTICE.format(mark=mark), conversation_block(prompt, mark), *fences, ending]
    return Request([{"role": "user", "content": "\n\n".join(parts), "extra": None}], sample, json_schema=schema)


def _compute_expectations(
    rubric: Rubric, groups: _Groups, items: ScoredItems, shares: Iterable[tuple[int, Shares]], scores: Scores
) -> dict[str, Any]:
    """Compute expected ratings: sum over r of r * P(r) (G-Eval, arXiv 2303.16634, eq. 1)."""
    ratings = range(rubric.low, rubric.high + 1)
    masses = array("d", [math.nan]) * (len(groups.members) * len(rubric.keys))
    # Aspects of a completion of which some have not come yet.
    waiting: dict[int, dict[str, Shares]] = {}
    for at, share in shares:
        # Questions come group by group, completion by completion, aspect by aspect.
        place, aspect = divmod(at, len(rubric.keys))
        if share.fault is None:
            masses[at] = share.mass
        waiting.setdefault(place, {})[rubric.keys[aspect]] = share
        if len(waiting[place]) < len(rubric.keys):
            continue
        of_aspect, key = waiting.pop(place), items.find_key(groups.members[place])
        rated = [(name, of_aspect[name]) for name in rubric.keys]
        expected: dict[str, float | None] = {}
        for name, each in rated:
            if each.fault is not None:
                scores.faults[key] = (each.fault, f"{name}: {each.found}" if each.found else name)
            expected[name] = sum(rating * likely for rating, likely in zip(ratings, each.of, strict=False))
        if key not in scores.faults:
            scores.values[key] = _list_heads(expected)
            # The score is as trustworthy as its least certain aspect; sums of probabilities may exceed 1 by rounding.
            scores.masses[key] = [min(1.0, *(each.mass for _, each in rated))]
    read_masses = [mass for mass in masses if not math.isnan(mass)]
    return {
        "mean probability of the choices": _mean(read_masses),
        "least probability of the choices": min(read_masses, default=None),
    }


def _list_choices(rubric: Rubric) -> list[str]:
    """List the choices whose probabilities are read, each beginning with another token."""
    ratings = range(rubric.low, rubric.high + 1)
    return [_name_letter(rubric, rating) if _has_two_digits(rubric) else str(rating) for rating in ratings]


def _list_heads(ratings: Mapping[str, float | None]) -> list[float | None]:
    """List the overall score and, where there are aspects, theirs."""
    aspect_ratings = list(ratings.values())
    return aspect_ratings if list(ratings) == ["rating"] else [_mean(aspect_ratings), *aspect_ratings]


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _build_ending(rubric: Rubric, completions: int, reason: bool) -> str:
    fields = ['"candidate": NUMBER', *(['"reason": "ONE SENTENCE"'] if reason else [])]
    fields += [f'"{key}": RATING' for key in rubric.keys]
    what = "the completion" if completions == 1 else f"each of the {completions} completions"
    return (
        f"Answer with one JSON object and nothing behind it, with an entry for {what}, numbered as above:\n"
        f'{{"ratings": [{{{", ".join(fields)}}}]}}\n'
        f'RATING is a whole number from {rubric.low} to {rubric.high}, or "N/A" where it does not apply.'
    )


def _has_two_digits(rubric: Rubric) -> bool:
    """Tell whether ratings may begin with the same token (1 and 10); then letters replace them."""
    return rubric.high > 9


# Letters, since 1 and 10 begin with the same token and only first tokens are compared.
def _name_letter(rubric: Rubric, rating: int) -> str:
    return chr(ord("A") + rating - rubric.low)
