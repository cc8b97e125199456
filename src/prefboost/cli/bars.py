"""Progress bars of the command line: how much is done, at what rate, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefboost.progress import Bars

__all__ = ["bars", "waiting"]


def bars(title: str, *, hidden: bool) -> Bars:
    """Make bars on stderr (plain lines where it is no terminal), to be used as a context manager.

    Args:
        title: what stands before a bar, in Rich's markup; ``{task.description}`` is what each was added as.
        hidden: show none.

    Returns:
        The bars. Whoever adds one gives it the field ``detail``: the text behind it, e.g. rates.
    """
    from prefboost.progress import Bars, usual_columns

    return Bars(usual_columns(title), hidden=hidden)


@contextmanager
def waiting(what: str, *, hidden: bool) -> Iterator[None]:
    """Show that something uncounted is under way, such as reading a large file; it leaves nothing on a terminal.

    Args:
        what: is done.
        hidden: show nothing.
    """
    from prefboost.progress import Bars

    with Bars(hidden=hidden, transient=True) as shown:
        shown.add_task(what, total=None, detail="")
        yield
