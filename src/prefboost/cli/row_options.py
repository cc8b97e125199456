"""Options of the verbs that ask models row by row: `generate`, `score`, `judge` and `synthesize`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from prefboost.cli.bars import show_wait
from prefboost.cli.executors import Address, ExecutorName, Workers, read_executor, share_models
from prefboost.cli.options import AskAgain, AskNothing, OneShard, OnMachines, Quiet, StoreFolder, add_retry
from prefboost.cli.printing import print_forecast

if TYPE_CHECKING:
    from prefboost.cli.shards import OwnPart
    from prefboost.forecast import Forecast
    from prefboost.settings import Settings
    from prefboost.tables import Table

__all__ = ["RowOptions", "with_row_options"]


@dataclass(frozen=True)
class RowOptions:
    """The options that these verbs share, as given."""

    store: StoreFolder = None
    retry: AskAgain = None
    dry_run: AskNothing = False
    on: OnMachines = None
    shard: OneShard = None
    executor: ExecutorName = "local"
    address: Address = None
    tasks: Workers = None
    quiet: Quiet = False

    def list_overrides(self, overrides: Sequence[str] | None) -> list[str]:
        """List the overrides, that of ``--retry`` with them."""
        return add_retry(list(overrides or ()), self.retry)

    def read_part(self, out: Path, source: str, read: Callable[[], Table]) -> OwnPart:
        """Read the whole input, and take the part of its rows that this call works on.

        Args:
            out: the output of the whole; its type is checked first.
            source: the input, to name it while it is read.
            read: reads it.

        Raises:
            SettingsError: the type of ``out`` is unknown; see `OwnPart`.
        """
        from prefboost.cli.shards import OwnPart
        from prefboost.sources.writers.file_types import find_file_type

        find_file_type(out)
        with show_wait(f"reading {source}", hidden=self.quiet):
            table = read()
        return OwnPart(self.shard, table, out, self.store)

    @contextmanager
    def open_models(self, settings: Settings, forecast: Callable[[], Forecast], *, as_json: bool) -> Iterator[bool]:
        """Let models run where the options say; a dry run prints the forecast instead.

        Args:
            settings: of the verb.
            forecast: makes the forecast of this part.
            as_json: print it as JSON.

        Yields:
            whether to ask the models anything.
        """
        with share_models(read_executor(self.executor, self.address, self.tasks), settings) as add_workers:
            if self.dry_run:
                print_forecast(add_workers(forecast()), as_json=as_json, on=self.on, executor=self.executor)
            yield not self.dry_run


def with_row_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `RowOptions` in the place of its one parameter ``options``.

    The command line reads signatures, so the new one lists every option.
    """
    hints = get_type_hints(RowOptions, include_extras=True)
    shared = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(RowOptions)
    ]
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += shared if name == "options" else [parameter]

    @functools.wraps(command)
    def run_with_options(**arguments: Any) -> None:
        values = {each.name: arguments.pop(each.name) for each in shared if each.name in arguments}
        command(**arguments, options=RowOptions(**values))

    run_with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    run_with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run_with_options
