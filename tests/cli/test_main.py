"""The frame of the command line."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from prefboost.cli import main as frame
from prefboost.errors import Place, SettingsError

HEAVY = ("torch", "transformers", "datasets", "trl", "polars", "pyarrow", "matplotlib", "pydantic")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Puts one function behind the verb ``probe``."""

    def place(function: Callable[..., None]) -> None:
        monkeypatch.setitem(frame.VERBS, "probe", frame.Verb("probe:probe", "A verb of this test."))
        monkeypatch.setattr(frame.Verb, "load", lambda _: function)

    return place


@pytest.mark.parametrize("code", ["import prefboost", "from prefboost.cli.main import main; main(['--help'])"])
def test_start_up_is_fast_and_loads_no_heavy_library(code: str) -> None:
    begin = os.times()
    done = python(f"{code}\nimport sys; print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])")
    end = os.times()
    took_s = end.children_user + end.children_system - begin.children_user - begin.children_system
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
    # 0.5 s is the budget on an idle machine. Time of a core, not of the clock: other work does not count, though it
    # makes every instruction slower.
    assert took_s < 5


@pytest.mark.parametrize("name", list(frame.VERBS))
def test_every_verb_shows_its_help_and_loads_no_torch(name: str) -> None:
    done = python(
        f"import sys; from prefboost.cli.main import main; code = main([{name!r}, '--help'])\n"
        "print('torch' in sys.modules, code)"
    )
    assert done.stdout.endswith("False 0\n"), done.stdout + done.stderr


def test_help_lists_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, verb in frame.VERBS.items():
        assert name in shown
        assert verb.summary in shown


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("prefboost 0.")


def test_an_unknown_verb_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["frobnicate"]) == 2
    assert "frobnicate" in capsys.readouterr().err


def test_a_mistake_of_the_user_is_one_message_without_a_traceback(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise SettingsError("betta is not a setting here", remedy="write beta", place=Place("recipe.yaml", line=19))

    verb(fails)
    assert frame.main(["probe"]) == 2
    assert capsys.readouterr().err == "error: recipe.yaml:19: betta is not a setting here\n  -> write beta\n"


def test_ctrl_c_says_that_nothing_finished_is_lost(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    verb(interrupted)
    assert frame.main(["probe"]) == 130
    assert "finished work is kept; run the same command again to resume" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "traced"), [(["probe"], False), (["probe", "--debug"], True)])
def test_an_unexpected_error_asks_for_a_report_and_shows_its_traceback_on_request(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], arguments: list[str], traced: bool
) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("of our own")

    verb(breaks)
    assert frame.main(arguments) == 1
    shown = capsys.readouterr().err
    assert ("Traceback" in shown) is traced
    assert ("please report it" in shown) is not traced


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(28, "No space left on device", "out.parquet"), "out.parquet: the file system reports: No space left"),
        (RuntimeError("parquet: IO error: No space left on device (os error 28)"), "free some space"),
        (PermissionError(13, "Permission denied", "x"), "x: the file system reports: Permission denied"),
        (OSError(30, "Read-only file system"), "may read or write"),
    ],
)
def test_a_disk_that_is_full_or_closed_is_no_fault_of_ours(
    error: Exception, shown: str, verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    verb(fails)
    assert frame.main(["probe"]) == 2
    told = capsys.readouterr().err
    assert shown in told
    assert "fault of prefboost" not in told


def test_a_library_that_is_not_installed_is_answered_with_its_extra(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def imports() -> None:
        raise ModuleNotFoundError("No module named 'vllm.engine'", name="vllm.engine")

    verb(imports)
    assert frame.main(["probe"]) == 2
    assert 'pip install "prefboost[vllm]"' in capsys.readouterr().err


def test_secrets_are_not_shown(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "correct-horse-battery")

    def leaks() -> None:
        raise RuntimeError(
            f"401 for {os.environ['SOME_SERVICE_TOKEN']} at https://me:pass1234@host/ with api_key=abcdef123"
        )

    verb(leaks)
    assert frame.main(["probe"]) == 1
    shown = capsys.readouterr().err
    for secret in ("correct-horse-battery", "pass1234", "abcdef123"):
        assert secret not in shown


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, typer\n"
        "from prefboost.cli import main as frame\n"
        "def talks() -> None:\n"
        "    for number in range(200000): print(number)\n"
        "frame.VERBS['probe'] = frame.Verb('a:b', 'x'); frame.Verb.load = lambda verb: talks\n"
        "sys.exit(frame.main(['probe']))"
    )
    done = subprocess.run(
        f'"{sys.executable}" -c "{code}" | head -n 1',
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize(("words", "completion"), [("prefboost aug", "augment"), ("prefboost push --js", "--json")])
def test_a_shell_completes_verbs_and_their_options(words: str, completion: str) -> None:
    place = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_PREFBOOST_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "prefboost"], env={**os.environ, **place}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [completion], done.stderr


def test_warnings_of_bitsandbytes_about_kernels_nobody_uses_are_not_shown() -> None:
    assert frame.main(["--version"]) == 0
    assert not logging.getLogger("bitsandbytes.backends.cpu.ops").isEnabledFor(logging.WARNING)
