"""Engines from a text, for the tests of the search and of what it reports."""

import pytest

from minillm.verification.engine_file import load_engine, load_engines
from minillm.verification.engine_process import EngineProcess


@pytest.fixture
def load(tmp_path):
    """Loads engines with this text, in this process or in one of their own. All are closed at the end."""
    made = []

    def make(text, apart=False):
        file = tmp_path / "my_engine.py"
        file.write_text(text)
        made.append(load_engines(file, EngineProcess(file))[0] if apart else load_engine(file))
        return made[-1]

    yield make
    for one in made:
        one.close()
