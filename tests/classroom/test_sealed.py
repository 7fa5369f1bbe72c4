"""The questions of a notebook: their code cannot be read, and asks the same as in the lesson."""

import json

import pytest

from minillm.classroom.player.notebook import notebook_text
from minillm.classroom.questions import asking
from minillm.classroom.sealed import seal, sealed_cell, unsealed


def test_no_answer_is_seen_in_a_notebook(lesson):
    pytest.importorskip("jupytext")
    cells = json.loads(notebook_text(lesson))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any("answer=" in text or "predict(" in text for text in code)
    sealed = [text for text in code if "unsealed(" in text]
    assert len(sealed) == sum(cell.asks for cell in lesson.cells) > 0
    assert max(len(line) for text in sealed for line in text.splitlines()) <= 80


def test_a_sealed_cell_asks_with_the_variables_of_the_lesson():
    source = "predict('How many?', answer=number + 1, why='Because \\'é\\'.')\nafter = 5"
    namespace, asked = {"number": 2}, []
    exec("from minillm.classroom.questions import predict", namespace)
    with asking(asked.append):
        exec(sealed_cell(source), namespace)
    assert (asked[0].answer, asked[0].why, namespace["after"]) == (3, "Because 'é'.", 5)
    assert "answer" not in sealed_cell(source).split("unsealed(r")[1]


@pytest.mark.parametrize("text", ["", "x", "}}}}}", seal("predict()")[:-3], "é"])
def test_what_is_not_sealed_code_is_one_line(text):
    with pytest.raises(ValueError, match="not sealed code"):
        unsealed(text)
