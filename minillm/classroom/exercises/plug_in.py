"""Plug in: run the real engine with a learner's functions instead of its own.

The learner's code runs in this process, without any restriction. So use it only with your own code; it is never used
for grading. A wrong function shows at once in the generated text.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.classroom.exercises.workspace import Workspace
from minillm.classroom.worker.user_module import user_module


@contextmanager
def plugged_in(folder: Path) -> Iterator[list[str]]:
    """Replace functions of the engine by the learner's functions that passed their last check. Yield their names.

    Raises:
        ValueError: if the folder is not a workspace, no usable exercise has passed, or a file does not load.
    """
    workspace = Workspace(folder)
    usable = [exercise for exercise in all_exercises() if "plug" in exercise.namespace]
    passed = [exercise for exercise in usable if workspace.progress(exercise).passed]
    if not passed:
        names = ", ".join(exercise.name for exercise in usable)
        raise ValueError(f"{folder}: nothing to plug in; pass at least one of the exercises {names}")
    replaced: list[tuple[Any, str, Any]] = []
    with ExitStack() as modules:
        try:
            for exercise in passed:
                function = _function(workspace, exercise, modules)
                for name, replacement in exercise.namespace["plug"](function).items():
                    replaced += _replace(name, replacement)
            yield [exercise.name for exercise in passed]
        finally:
            for place, name, original in reversed(replaced):
                setattr(place, name, original)


def _function(workspace: Workspace, exercise: Exercise, modules: ExitStack) -> Callable[..., Any]:
    """Return the learner's function. Its file is a module as long as `modules` is open."""
    file = workspace.file(exercise).absolute()
    try:
        source = workspace.source(exercise)
        module = modules.enter_context(user_module(source, file.stem, str(file), str(file.parent)))
        function = getattr(module, exercise.name, None)
    except (Exception, SystemExit) as problem:
        raise ValueError(f"{file} does not load: {type(problem).__name__}: {problem}") from problem
    if not callable(function):
        raise ValueError(f"{file}: expected a function {exercise.name}; it is missing")
    return _with_its_name(function, file)


def _with_its_name(function: Callable[..., Any], file: Path) -> Callable[..., Any]:
    """Wrap a function so that its exceptions name the file, in one line."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, SystemExit) as problem:
            raise ValueError(f"{file.name}: {type(problem).__name__}: {problem}") from problem

    return call


def _replace(name: str, function: Callable[..., Any]) -> list[tuple[Any, str, Any]]:
    """Replace a function in every module of minillm that uses it, or a method of a class. Return the originals."""
    home, attribute = name.rsplit(".", 1)
    if home.rpartition(".")[2][0].isupper():  # minillm.module.Class.of
        of = importlib.import_module(home.rpartition(".")[0])
        place = getattr(of, home.rpartition(".")[2])
        method = vars(place)[attribute]
        setattr(place, attribute, staticmethod(function) if isinstance(method, classmethod) else function)
        return [(place, attribute, method)]
    original = getattr(importlib.import_module(home), attribute)
    modules = [module for key, module in list(sys.modules.items()) if key.startswith("minillm.") and module]
    users = [module for module in modules if getattr(module, attribute, None) is original]
    for module in users:
        setattr(module, attribute, function)
    return [(module, attribute, original) for module in users]
