"""Every lesson, exported as a notebook, runs from its first cell to its last (extra `notebook`)."""

import os

import nbclient
import nbformat
import pytest

from minillm.classroom.player.lessons import all_lessons
from minillm.classroom.player.notebook import export_notebook


@pytest.fixture(scope="module")
def runner():
    """One kernel for all, since starting one takes a second.

    It has one BLAS thread, as the lessons that take times ask for: here another lesson has imported NumPy before them.
    """
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=60, kernel_name="python3")
    with client.setup_kernel(env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}):
        yield client


@pytest.mark.parametrize("lesson", all_lessons(), ids=lambda lesson: lesson.name)
def test_a_notebook_runs(lesson, runner, tmp_path):
    export_notebook(lesson, tmp_path / "lesson.ipynb")
    notebook = nbformat.read(tmp_path / "lesson.ipynb", as_version=4)
    nbformat.validate(notebook)
    kinds = {"prose": "markdown", "code": "code"}
    assert [cell.cell_type for cell in notebook.cells] == [kinds[cell.kind] for cell in lesson.cells]
    runner.nb = notebook
    for number, cell in enumerate(notebook.cells):
        runner.execute_cell(cell, number)
    shown = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert shown.count("Answer") == sum(cell.asks for cell in lesson.cells)
