"""Notebooks: export a lesson as .ipynb with jupytext. The code of a question is sealed, because it has the answer."""

from pathlib import Path

from minillm.classroom.player.lessons import Lesson
from minillm.classroom.sealed import sealed_cell
from minillm.support.install_hint import install_hint
from minillm.support.state_file import write_whole


def export_notebook(lesson: Lesson, path: Path) -> None:
    """Write a lesson as a notebook, without outputs.

    Raises:
        ValueError: if the name does not end in .ipynb, the file exists, its folder does not exist, or jupytext is not
            installed.
        OSError: if the file cannot be written.
    """
    if path.suffix != ".ipynb":
        raise ValueError(f"the notebook is {str(path)[:80]!r}; expected a name that ends in .ipynb")
    if path.exists():
        raise ValueError(f"{path} exists already, perhaps with your notes; remove it or choose another name")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {path.absolute().parent}")
    write_whole(path, notebook_text(lesson))


def notebook_text(lesson: Lesson) -> str:
    """Return a lesson as the JSON of a notebook.

    Raises:
        ValueError: if jupytext is not installed.
    """
    try:
        import jupytext
    except ImportError:
        raise ValueError(f"notebooks need jupytext, which is not installed: {install_hint('notebook')}") from None
    notebook = jupytext.read(lesson.path, fmt="py:percent")
    for cell, own in zip(notebook.cells, lesson.cells, strict=True):
        if own.asks:
            cell.source = sealed_cell(own.source)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return str(jupytext.writes(notebook, fmt="ipynb"))
