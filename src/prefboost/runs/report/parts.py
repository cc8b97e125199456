"""Content of the report page: its verdict, and its parts in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prefboost.reporting.evaluation.page import build_sections, write_lead
from prefboost.reporting.run.comparison import (
    build_comparison_sections,
    build_demo_sections,
    state_comparisons,
)
from prefboost.reporting.run.curves import build_curves_section
from prefboost.reporting.run.data import build_data_section
from prefboost.reporting.run.evidence import (
    build_frontier_section,
    build_goal_response_section,
    build_unlearning_section,
    state_diagnoses,
)
from prefboost.reporting.run.outcome import (
    build_cost_by_stage_section,
    build_rounds_section,
    state_progress,
    state_rounds,
    state_trainings,
)
from prefboost.reporting.run.relabelling import build_relabelling_section
from prefboost.reporting.run.settings import build_settings_sections
from prefboost.reporting.samples import Samples, choose_completions, choose_pairs, collect_samples
from prefboost.reporting.sections import Section, plot_lines
from prefboost.runs.report.sources import ReportSources

__all__ = ["build_parts", "choose_samples", "state_outcome"]


def state_outcome(sources: ReportSources) -> Iterator[str]:
    """State what was measured; how the trainings went only where nothing was."""
    measured = [
        *state_comparisons(sources.comparisons, sources.demos),
        *(sentence for scored in sources.evaluations.values() for sentence in write_lead(scored.results)),
        *state_diagnoses(sources.diagnoses),
        *(sentence for run in sources.runs for sentence in state_rounds(run)),
    ]
    yield from (sentence for run in sources.runs for sentence in state_progress(run))
    yield from measured
    if not measured:
        yield from (sentence for run in sources.runs for sentence in state_trainings(run))


def build_parts(sources: ReportSources, samples: int) -> Iterator[Section]:
    """Build the parts for which there are data, in the order of the page."""
    runs = sources.runs
    frontiers = {name: each for name, each in sources.diagnoses.items() if each["diagnosis"] == "frontier"}
    # Parts of one title tell each other apart by the folder or file that they come from.
    several = len(frontiers) + len(sources.comparisons) + len(sources.demos) > 1
    yield from build_comparison_sections(sources.comparisons, named=several)
    yield from build_demo_sections(sources.demos, named=several)
    for number, (name, record) in enumerate(frontiers.items(), 1 + len(sources.comparisons)):
        yield build_frontier_section(name if several else "", record, number)
    for part in (build_rounds_section(runs), build_goal_response_section(sources.diagnoses),
                 build_unlearning_section(sources.diagnoses)):  # fmt: skip
        if part is not None:
            yield part
    number = 0
    for scored in sources.evaluations.values():
        many = f"{scored.results.benchmark}: " if len(sources.evaluations) > 1 else ""
        for section in build_sections(scored):
            number += 1
            yield replace(plot_lines(section, f"evaluation-{number}"), title=f"{many}{section.title}")
    for part in (build_relabelling_section(runs), build_curves_section(runs)):
        if part is not None:
            yield part
    chosen = choose_samples(sources, samples)
    if chosen is not None:
        yield Section("Samples", samples=chosen)
    for part in (build_data_section(runs), build_cost_by_stage_section(runs)):
        if part is not None:
            yield part
    yield from build_settings_sections(runs)


def choose_samples(sources: ReportSources, limit: int) -> Samples | None:
    """Share the limit among all groups: pairs of trainings, and completions of held-out prompts."""
    completions = {name: frames for name, frames in sources.completions.items() if frames}
    completions |= {f"{run.name}, held-out prompts": dict(run.completions) for run in sources.runs if run.completions}
    pairs = {
        f"{run.label(name)}, pairs": training.pairs
        for run in sources.runs
        for name, training in run.trainings.items()
        if training.pairs is not None and training.pairs.height
    }
    # Equal shares, so that the pairs of a large file do not crowd out the completions of a few prompts.
    each = max(1, limit // max(1, len(pairs) + len(completions)))
    parts = [
        (choose_completions(frames, name, each), max(frame["prompt_id"].n_unique() for frame in frames.values()))
        for name, frames in completions.items()
    ]
    return collect_samples(
        [*parts, *((choose_pairs(frame, name, each), frame.height) for name, frame in pairs.items())]
    )
