"""Show progress of work in several steps, on stderr. If stderr is not a terminal, nothing is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]  # the step's name, how much is done, of how much


@contextmanager
def progress_on_stderr() -> Iterator[Report]:
    """Show what is reported until the `with` block ends, normally or by an exception."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), TaskProgressColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def report(step: str, done: int, total: int) -> None:
            progress.update(task, description=step, completed=done, total=total)

        yield report
