"""Settings of a run, and the command that runs it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.sections import ReportColumn, ReportTable, Section

__all__ = ["build_settings_sections"]


def build_settings_sections(runs: Sequence[RunRecord]) -> list[Section]:
    """Build, for each run, the command, versions and inputs, and all settings as YAML."""
    sections = []
    for run in runs:
        command, settings = run.manifest.get("command"), run.manifest.get("settings")
        if settings is None:
            # A training without a run holds its settings in its own claim.
            settings = run.manifest.get("training", {}).get("train", {})
        facts = [
            ("started", str(run.manifest.get("started", ""))),
            ("prefboost", str(run.manifest.get("prefboost", ""))),
            ("git revision", str(run.manifest.get("git") or "")),
            *((f"version of {name}", str(version)) for name, version in run.manifest.get("versions", {}).items()),
            *((f"hash of {path}", str(digest)) for path, digest in run.manifest.get("inputs", {}).items()),
            *((f"changed {each['at']}", "; ".join(each["changed"])) for each in run.manifest.get("revisions", ())),
        ]
        rows = tuple(fact for fact in facts if fact[1])
        tables = (ReportTable((ReportColumn("fact"), ReportColumn("value")), rows),) if rows else ()
        if command:
            # The path of the program is this machine's alone.
            again = shlex.join([Path(command[0]).name, *command[1:]])
            note = "The same command resumes an unfinished run; in an empty place it runs it again."
            sections.append(Section(f"Command of {run.name}", (note,), tables=tables, code=again))
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
        sections.append(Section(f"Settings of {run.name}", code=text))
    return sections
