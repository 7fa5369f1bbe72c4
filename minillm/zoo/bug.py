"""Bug: one historical bug. Each is a file `exercises/zoo/NN_name.py` with these names:

docstring            one line: what the engine does wrong
ENGINE, KIND         the engine that had the bug, and the subject, such as "RoPE"
THREAD, TITLE        the address of the issue or pull request, and its title
SEEN, CAUSE          what a user saw, or would have seen, and what was wrong in the code
PROPERTY             the name of the property that catches it
MODULE, FUNCTION     the module of minillm that is patched, and the function (or Class.method) in it
PATCH                pairs (old, new): each old text occurs exactly once in the module, inside the function
answer(model)        optional: returns lines of text that differ between the healthy and the patched engine
"""

import ast
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minillm.support.checks import check_integer
from minillm.support.shipped import PACKAGE, shipped

ADDRESS = re.compile(r"https://github\.com/(?P<repository>[\w.-]+/[\w.-]+)/(?P<kind>issues|pull)/(?P<number>\d+)")
KINDS = {"issues": "issue", "pull": "pull request"}


@dataclass(frozen=True)
class Bug:
    """A bug of a public engine, and the patch that gives it to minillm.

    Attributes:
        number: counted from 1.
        name: of the file, without its number.
        title: what the engine does wrong.
        engine, kind, thread, thread_title, seen, cause: as in the docstring of this module.
        caught_by: the name of the property.
        module, function: what is patched.
        patch: pairs (old text, new text).
        answer: returns the lines that a model gives; None for greedy text.
    """

    number: int
    name: str
    title: str
    engine: str
    kind: str
    thread: str
    thread_title: str
    seen: str
    cause: str
    caught_by: str
    module: str
    function: str
    patch: Sequence[tuple[str, str]]
    answer: Callable[[Any], list[str]] | None

    @property
    def thread_name(self) -> str:
        """The thread in words: `ggml-org/llama.cpp, issue 1585`."""
        found = ADDRESS.fullmatch(self.thread)
        assert found, f"{self.thread} is not the address of an issue or of a pull request"
        return f"{found['repository']}, {KINDS[found['kind']]} {found['number']}"

    @property
    def source(self) -> str:
        """The text of the module, without the bug."""
        return PACKAGE.joinpath(*self.module.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")

    def patched_source(self) -> str:
        """Return the text of the module with the bug.

        Raises:
            ValueError: an old text does not occur exactly once, or is not in the function.
        """
        text = self.source
        for old, new in self.patch:
            if text.count(old) != 1:
                raise ValueError(
                    f"bug {self.number}: {old!r} occurs {text.count(old)} times in {self.module}; expected 1"
                )
            if old not in function_text(self.source, self.function):
                raise ValueError(f"bug {self.number}: {old!r} is not in {self.function} of {self.module}")
            text = text.replace(old, new)
        return text

    def diff(self) -> list[str]:
        """Return the patch as lines that begin with `-`, `+`, or a space for a line of context."""
        before, after = self.source.splitlines(), self.patched_source().splitlines()
        lines = list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
        return ["" if line.startswith("@@") else line.rstrip() for line in lines][1:]


def function_text(source: str, name: str) -> str:
    """Return the text of a function, or of a method that is named `Class.method`."""
    node: ast.Module | ast.ClassDef | ast.FunctionDef = ast.parse(source)
    for part in name.split("."):
        named = (each for each in node.body if isinstance(each, ast.ClassDef | ast.FunctionDef))
        [node] = [each for each in named if each.name == part]
    assert not isinstance(node, ast.Module)
    lines = source.splitlines(keepends=True)
    return "".join(lines[node.lineno - 1 : node.end_lineno])


def property_meaning(name: str) -> str:
    """Return what the property asks of an engine: the first line of its docstring. Hypothesis is not needed for it."""
    for file in sorted(PACKAGE.glob("*/*properties.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return str(ast.get_docstring(node)).splitlines()[0]
    raise ValueError(f"there is no property {name}")


@cache
def all_bugs() -> tuple[Bug, ...]:
    """Return all bugs in the order of their numbers."""
    return tuple(map(_read, sorted(shipped("exercises").glob("zoo/[0-9][0-9]_*.py"))))


def find_bug(number: int) -> Bug:
    """Return the bug with this number.

    Raises:
        ValueError: there is none.
    """
    return all_bugs()[check_integer("the number of a bug", number, 1, len(all_bugs())) - 1]


def _read(file: Path) -> Bug:
    names: dict[str, Any] = {"__name__": file.stem}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), names)
    number, name = file.stem.split("_", 1)
    text = {key: " ".join(names[key].split()) for key in ("__doc__", "ENGINE", "KIND", "TITLE", "SEEN", "CAUSE")}
    return Bug(
        int(number), name, text["__doc__"], text["ENGINE"], text["KIND"], names["THREAD"], text["TITLE"], text["SEEN"],
        text["CAUSE"], names["PROPERTY"], names["MODULE"], names["FUNCTION"], names["PATCH"], names.get("answer"),
    )  # fmt: skip
