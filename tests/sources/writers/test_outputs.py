"""The guard of outputs: tried on every verb of the command line that writes, and on made-up paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.cli.main import VERBS, main
from prefboost.errors import RunError
from prefboost.sources import File
from prefboost.sources.writers import outputs
from prefboost.sources.writers.outputs import list_output_files, paths_in, refuse_foreign, refuse_inputs

FILE_VERBS = {
    "score": lambda source, out: ["score", source, "kind=rules", "-o", out],
    "judge": lambda source, out: ["judge", source, "kind=scorer", "scorer.kind=rules", "-o", out],
    "select": lambda source, out: ["select", source, "kind=best_of_n", "-o", out],
    "generate": lambda source, out: ["generate", f"replay:{source}", source, "-o", out],
    "synthesize": lambda source, out: ["synthesize", "rlcd", source, f"generator=replay:{source}", "-o", out],
    "augment": lambda source, out: ["augment", source, "-o", out, "--overwrite"],
}
"""Verbs that write one file (augment writes either)."""

FOLDER_VERBS = {
    "augment": lambda source, out: ["augment", source, "-o", out, "--overwrite"],
    "fit-regressor": lambda source, out: ["fit-regressor", source, "-o", out],
    "train-reward": lambda source, out: ["train-reward", source, "model=nowhere", "-o", out],
    "evaluate": lambda source, out: ["evaluate", "--baseline", source, source, "judge=openai:none", "-o", out],
    "evaluate --verdicts": lambda source, out: ["evaluate", "--verdicts", source, "-o", out],
    "demo": lambda source, out: ["demo", f"model={source}", "-o", out],
    "reproduce": lambda source, out: ["reproduce", "reward_augmented", f"data={source}", "model=nowhere", "-o", out],
}
"""Verbs that write a folder."""

READS_ONLY = {"push", "inspect", "compare", "chat", "show", "explain"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an input and a file of someone else."""
    place = tmp_path / "w"
    place.mkdir()
    rows = [{"prompt": f"q{n // 2}", "completion": f"answer {n}", "score": float(n % 5)} for n in range(8)]
    (place / "scored.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "thesis.txt").write_text("mine")
    return place


@pytest.fixture
def pairs(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    before = contents(folder)
    assert main(arguments) == 2
    assert contents(folder) == before
    return capsys.readouterr().err


def test_every_verb_that_writes_is_tried_here() -> None:
    tried = {verb.split()[0] for verb in (*FILE_VERBS, *FOLDER_VERBS)}
    tried |= {"train", "run", "reward-accuracy", "diagnose", "report", "merge"}
    assert tried | READS_ONLY == set(VERBS)


@pytest.mark.parametrize("verb", FILE_VERBS)
@pytest.mark.parametrize("alias", ["same", "relative", "link", "hard link"])
def test_an_output_file_that_is_the_input_is_refused(
    verb: str,
    alias: str,
    folder: Path,
    pairs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = pairs if verb == "judge" else folder / "scored.jsonl"
    monkeypatch.chdir(folder)
    other = folder / f"other{source.suffix}"
    if "link" in alias:
        (other.symlink_to if alias == "link" else other.hardlink_to)(source)
    out = {"same": str(source), "relative": f"../w/{source.name}"}.get(alias, str(other))
    assert "the output is the input" in refused(FILE_VERBS[verb](str(source), out), folder, capsys)


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_an_output_whose_companion_is_the_input_is_refused(
    verb: str, folder: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pairs if verb == "judge" else folder / "scored.jsonl"
    rejects = folder / "out.jsonl.rejects.parquet"
    import polars as pl

    pl.read_ndjson(source).write_parquet(rejects)
    arguments = FILE_VERBS[verb](str(rejects), str(folder / "out.jsonl"))
    arguments = [text.replace(f"replay:{rejects}", f"replay:{source}") for text in arguments]
    assert "the output is the input" in refused(arguments, folder, capsys)


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_an_output_in_the_folder_that_is_read_is_refused(
    verb: str, folder: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "scored.jsonl" if verb == "judge" else "pairs.jsonl"
    (folder / name).unlink()
    arguments = FILE_VERBS[verb](str(folder), str(folder / "sub" / "out.parquet"))
    if verb in ("generate", "synthesize"):
        arguments = [text.replace(f"replay:{folder}", f"replay:{folder / 'scored.jsonl'}") for text in arguments]
    assert "is inside the input" in refused(arguments, folder, capsys)


@pytest.mark.parametrize("verb", sorted(set(FILE_VERBS)))
def test_a_file_of_someone_else_is_not_overwritten(
    verb: str, folder: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pairs if verb == "judge" else folder / "scored.jsonl"
    (folder / "out.jsonl").write_text("mine\n")
    said = refused(FILE_VERBS[verb](str(source), str(folder / "out.jsonl")), folder, capsys)
    assert "did not write" in said or "exists" in said


@pytest.mark.parametrize("diagnosis", [["unlearning", "m", "start=m"], ["controllability"]])
def test_a_diagnosis_neither_overwrites_its_input_nor_a_file_of_someone_else(
    diagnosis: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (folder / "scored.jsonl").rename(folder / "scored.json")
    arguments = ["diagnose", diagnosis[0], str(source), *diagnosis[1:], "-o"]
    assert "the output is the input" in refused([*arguments, str(source)], folder, capsys)
    (folder / "mine.json").write_text("{}")
    assert "did not write" in refused([*arguments, str(folder / "mine.json")], folder, capsys)


@pytest.mark.parametrize("arguments", [["inspect", "scored.jsonl", "--html"], ["report", "run", "-o"]])
def test_a_page_does_not_overwrite_a_file_of_someone_else(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "run").mkdir()
    (folder / "run" / "manifest.json").write_text('{"settings": {}}')
    (folder / "mine.html").write_text("mine")
    assert "did not write" in refused([*arguments, "mine.html"], folder, capsys)
    assert "ends in .html" in refused([*arguments, "scored.jsonl"], folder, capsys)


@pytest.mark.parametrize("verb", FOLDER_VERBS)
@pytest.mark.parametrize("levels", [0, 1])
def test_an_output_folder_around_the_input_is_refused(
    verb: str, levels: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder if levels == 0 else folder.parent
    said = refused(FOLDER_VERBS[verb](str(folder / "scored.jsonl"), str(out)), folder.parent, capsys)
    assert "contains the input" in said


@pytest.mark.parametrize("verb", ["train", "run"])
def test_a_run_folder_around_its_data_is_refused(verb: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(f"kind: offline\nname: w\ndata: {folder / 'scored.jsonl'}\ntrain: {{model: nowhere}}\n")
    said = refused([verb, str(recipe), "--runs-dir", str(folder.parent)], folder.parent, capsys)
    assert "contains the input" in said


def test_reports_of_accuracy_do_not_replace_the_pairs(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pairs.with_suffix(".json")
    source.write_text(json.dumps([json.loads(line) for line in pairs.read_text().splitlines()]))
    measured = ["reward-accuracy", str(source), "kind=rules", "-o", str(source)]
    assert "the output is the input" in refused(measured, pairs.parent, capsys)
    (pairs.parent / "report.json").write_text("{}")
    measured = ["reward-accuracy", str(pairs), "kind=rules", "-o", str(pairs.parent / "report.json")]
    assert "did not write it" in refused(measured, pairs.parent, capsys)


def test_a_file_of_the_verb_itself_is_written_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out.parquet"
    for _ in range(2):
        source = str(folder / "scored.jsonl")
        assert main(["generate", f"replay:{source}", source, "-o", str(out), "--quiet"]) == 0, capsys.readouterr()


def test_select_replaces_only_what_it_wrote_and_only_when_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "best.jsonl"
    line = ["select", str(folder / "scored.jsonl"), "kind=best_of_n", "-o", str(out)]
    assert main(line) == 0
    assert "--overwrite" in refused([*line, "count=2"], folder.parent, capsys)
    assert main([*line, "count=2", "--overwrite"]) == 0
    assert len(out.read_text().splitlines()) == 8
    out.with_name("best.jsonl.select.json").unlink()
    assert "did not write it" in refused([*line, "--overwrite"], folder.parent, capsys)


NAMES = st.sampled_from(["a", "b", "a.jsonl", "train"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(NAMES, min_size=1, max_size=3),
    st.lists(NAMES, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([str, Path, lambda path: File(path=str(path))]),
)
def test_an_output_is_refused_exactly_where_it_meets_an_input(
    tmp_path_factory: pytest.TempPathFactory, source: list[str], target: list[str], is_folder: bool, shown: object
) -> None:
    place = tmp_path_factory.mktemp("w", numbered=True)
    path, out = place.joinpath(*source), place.joinpath(*target)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        path.mkdir()
        (path / "data.jsonl").write_text("{}\n")
    else:
        path.write_text("{}\n")
    meets = path == out or out in path.parents or (is_folder and path in out.parents)
    try:
        refuse_inputs([out], [shown(path)])  # type: ignore[operator]
    except RunError:
        assert meets
    else:
        assert not meets


def test_globs_meet_outputs_that_they_would_match(folder: Path) -> None:
    refuse_inputs([folder / "out.parquet", folder / "sub" / "x.jsonl"], [str(folder / "*.jsonl")])
    for pattern, out in (("*.jsonl", "x.jsonl"), ("*", "out"), ("**/*.jsonl", "sub/x.jsonl"), ("*.jsonl", "")):
        with pytest.raises(RunError, match="input"):
            refuse_inputs([folder / out], [str(folder / pattern)])


def test_an_output_may_lie_in_the_folder_of_a_model_at_an_address_but_in_none_that_is_read() -> None:
    refuse_inputs(["memory://models/policy/rows.jsonl"], [], ["memory://models/policy"], far=True)
    with pytest.raises(RunError, match="the next run would read it as data"):
        refuse_inputs(["memory://models/policy/rows.jsonl"], ["memory://models/policy"], far=True)
    with pytest.raises(RunError, match="or contains it"):
        refuse_inputs(["memory://models"], [], ["memory://models/policy"], far=True)


def test_names_in_settings_are_paths_where_they_can_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "train").mkdir()
    source = File(path="scored.jsonl", split="train")
    assert list(paths_in(source)) == ["scored.jsonl"]
    refuse_inputs(["train"], [source], [source])
    with pytest.raises(RunError, match="the output is the input"):
        refuse_inputs(["scored.jsonl"], [], [{"engine": [{"path": Path("scored.jsonl")}]}])


def test_hidden_names_inside_a_folder_are_not_read_and_hub_ids_are_no_paths(folder: Path) -> None:
    refuse_inputs([folder / ".cache" / "out.jsonl", folder.parent / "x"], [str(folder), "someone/data"])


def test_companions_stand_beside_the_file() -> None:
    assert [path.name for path in list_output_files("a/b.jsonl", ".x.json")] == [
        "b.jsonl",
        "b.jsonl.rejects.parquet",
        "b.jsonl.x.json",
    ]


@pytest.mark.parametrize("out", [".", "..", "../w"])
def test_the_folder_one_works_in_is_a_folder_around_its_files(
    out: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for verb in ("augment", "fit-regressor"):
        assert "contains" in refused(FOLDER_VERBS[verb]("scored.jsonl", out), folder, capsys)


def test_a_sign_shows_whose_file_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    refuse_foreign([out], [], "score")
    out.write_text("")
    with pytest.raises(RunError, match="did not write it"):
        refuse_foreign([out], [tmp_path / "out.jsonl.score.json"], "score")
    (tmp_path / "out.jsonl.score.json").write_text("{}")
    refuse_foreign([out], [tmp_path / "out.jsonl.score.json"], "score")


def test_a_folder_written_in_another_case_is_the_same_folder_where_the_disk_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around, inside = folder.with_name("W"), folder.with_name("W") / "out.parquet"
    refuse_inputs([around], [folder / "scored.jsonl"])  # another folder, on a disk that tells cases apart
    refuse_inputs([inside], [folder])
    monkeypatch.setattr(outputs, "_is_same_file", lambda one, other: str(one).lower() == str(other).lower())
    with pytest.raises(RunError, match="contains the input"):
        refuse_inputs([around], [folder / "scored.jsonl"])
    with pytest.raises(RunError, match="is inside the input"):
        refuse_inputs([inside], [folder])
    refuse_inputs([folder.with_name("W") / ".hidden" / "out.parquet"], [folder])  # readers pass hidden names over
