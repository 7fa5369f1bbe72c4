"""Whoever runs a learner's file (the worker, `--with`, an engine) runs it as a module, and leaves no trace of it."""

import sys
from dataclasses import replace

import pytest

from minillm.classroom.exercises.exercise import find_exercise
from minillm.classroom.exercises.plug_in import plugged_in
from minillm.classroom.exercises.workspace import Workspace
from minillm.classroom.worker.user_module import user_module
from minillm.classroom.worker.worker import Returned, Worker
from minillm.verification.engine_file import load_engine

AS_A_MODULE = """
from __future__ import annotations
import enum, pickle, sys, typing
from dataclasses import KW_ONLY, dataclass, field


@dataclass
class Shape:
    _: KW_ONLY
    rows: list[int] = field(default_factory=list)


class Kind(enum.Enum):
    A = 1


def itself():
    assert sys.modules[__name__].Shape is Shape
    assert typing.get_type_hints(Shape)["rows"] == list[int]
    assert pickle.loads(pickle.dumps([Kind.A, Shape(rows=[1])])) == [Kind.A, Shape(rows=[1])]
    return __file__
"""


def test_the_worker_runs_a_module():
    with Worker() as worker:
        for _ in range(2):  # each load has its own module, which replaces the one before
            assert worker.load(AS_A_MODULE, "itself") == Returned(None)
            assert worker.call({}) == Returned("<exercise>", {})
        worker.load("import sys\ndef names(): return [n for n in sys.modules if 'exercise' in n]", "names")
        assert worker.call({}).value == ["exercise"]


@pytest.fixture
def unchanged():
    """Nothing of the file is left behind."""
    before = (dict(sys.modules), list(sys.path))
    yield
    assert sys.path == before[1]
    assert not [name for name in sys.modules if name.startswith(("my_", "_my_"))]
    assert sys.modules["json"] is before[0].get("json", sys.modules["json"])


def test_a_module_may_import_its_neighbours_also_later(tmp_path, unchanged):
    (tmp_path / "my_layers.py").write_text("SIZE = 3")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("from my_package import part")
    (tmp_path / "my_package" / "part.py").write_text("from my_layers import SIZE")
    source = (
        AS_A_MODULE + "import my_layers\ndef later():\n    import my_package.part\n    return my_package.part.SIZE\n"
    )
    file = str(tmp_path / "my_file.py")
    with user_module(source, "my_file", file, str(tmp_path)) as module:
        assert (module.itself(), module.later(), module.my_layers.SIZE) == (file, 3, 3)
        assert sys.modules["my_file"] is module


@pytest.mark.parametrize("source", ["1 / 0", "raise SystemExit(0)", "def ("])
def test_a_file_that_fails_leaves_nothing_behind(tmp_path, unchanged, source):
    with (
        pytest.raises((ZeroDivisionError, SystemExit, SyntaxError)),
        user_module(source, "my_file", str(tmp_path / "my_file.py"), str(tmp_path)),
    ):
        raise AssertionError("not reached")


def test_a_name_that_is_taken_stays_what_it_was(tmp_path, unchanged):
    with user_module("def f(): return 1", "json", str(tmp_path / "json.py"), str(tmp_path)) as module:
        assert module.__name__ == "_json" or sys.modules[module.__name__] is module
        assert hasattr(sys.modules["json"], "dumps")


ENGINE = AS_A_MODULE + """
import my_layers
VOCAB_SIZE = my_layers.SIZE
def new_cache(): return []
def prefill(tokens, cache):
    import my_later
    return my_later.logits(tokens)
"""  # fmt: skip


def test_an_engine_may_import_its_neighbours(tmp_path, unchanged):
    (tmp_path / "my_layers.py").write_text("SIZE = 3")
    (tmp_path / "my_later.py").write_text("def logits(tokens): return [1.0] * 3")
    (tmp_path / "my_engine.py").write_text("# -*- coding: latin-1 -*-\n# \xe9\n" + ENGINE, encoding="latin-1")
    loaded = load_engine(tmp_path / "my_engine.py")
    try:
        assert loaded.has("prefill")
        assert sys.modules["my_engine"].prefill([1], []) == [1.0] * 3
    finally:
        loaded.close()


def test_an_engine_that_does_not_load_leaves_nothing_behind(tmp_path, unchanged):
    (tmp_path / "my_engine.py").write_text("import my_nothing")
    with pytest.raises(ValueError, match="does not load: ModuleNotFoundError"):
        load_engine(tmp_path / "my_engine.py")


def test_functions_that_are_plugged_in_may_import_their_neighbours(tmp_path, unchanged):
    import minillm.attention

    workspace, softmax = Workspace.start(tmp_path / "work"), find_exercise("softmax")
    (workspace.folder / "my_helper.py").write_text("def helped(x): return x")
    source = AS_A_MODULE + softmax.solution.replace("    exponentials", "    import my_helper\n    exponentials", 1)
    workspace.file(softmax).write_text(source)
    workspace.note(softmax, lambda own: replace(own, passed=True))
    with plugged_in(workspace.folder) as names:
        assert names == ["softmax"]
        assert minillm.attention.softmax.__module__ == "minillm.classroom.exercises.plug_in"
        minillm.attention.softmax(minillm.attention.np.zeros(2))
        assert "my_helper" in sys.modules
    assert "03_softmax" not in sys.modules
