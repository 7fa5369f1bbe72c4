"""minillm's pytest plugin: run the exercises of a workspace as tests, and the properties of a learner's engine.

    pytest                       in a workspace: one test for each exercise
    pytest -k kv_cache           the exercises of one concept
    pytest --minillm-engine my_engine.py    the equivalence properties of this engine

This module is outside the package and imports the package only when needed. pytest loads every plugin at its start, but
tools that instrument imports (coverage, shape checks) must be loaded before minillm.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ENGINE_OPTION = "--minillm-engine"
EXERCISE = r"\d\d_\w+\.py"
WORKER: pytest.StashKey[Any] = pytest.StashKey()
ENGINE: pytest.StashKey[Any] = pytest.StashKey()
PASSED: pytest.StashKey[dict[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("minillm").addoption(
        ENGINE_OPTION, metavar="FILE", help="run minillm's equivalence properties on the engine in this file"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """In an exercise folder, load no conftest.py: pytest would run it in this process, where it can change verdicts."""
    if any(map(_is_workspace, _folders(early_config))):
        early_config.known_args_namespace.noconftest = True


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that a conftest.py is passed over."""
    if any(_is_workspace(folder) and (folder / "conftest.py").exists() for folder in _folders(config)):
        return "minillm: conftest.py of an exercise folder is not loaded"
    return None


def pytest_configure(config: pytest.Config) -> None:
    """With the option, collect only the file of the engine."""
    name = config.getoption(ENGINE_OPTION)
    if not name:
        return
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        from minillm.support.install_hint import install_hint

        raise pytest.UsageError(f"{ENGINE_OPTION} needs Hypothesis: {install_hint('test')}") from None
    file = config.invocation_params.dir / name
    if not file.is_file():
        raise pytest.UsageError(f"{ENGINE_OPTION}: there is no file {file}")
    from minillm.verification.engine_file import load_engine

    try:
        config.stash[ENGINE] = (file, load_engine(file))
    except (ValueError, OSError) as problem:
        raise pytest.UsageError(f"{ENGINE_OPTION}: {problem}") from None
    config.args = [str(file)]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the worker, and unload the engine."""
    if ENGINE in config.stash:
        config.stash[ENGINE][1].close()
    if WORKER in config.stash:
        config.stash[WORKER].close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect an exercise of a workspace. Its name does not match pytest's patterns for tests."""
    if parent.session.isinitpath(file_path) or not _is_exercise(file_path):
        return None
    return ExerciseFile.from_parent(parent, path=file_path)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect an exercise or engine named on the command line. Otherwise pytest would import it."""
    engine = parent.config.stash.get(ENGINE, None)
    if engine is not None and engine[0] == module_path:
        return EngineFile.from_parent(parent, path=module_path)
    return ExerciseFile.from_parent(parent, path=module_path) if _is_exercise(module_path) else None


def _folders(config: pytest.Config) -> set[Path]:
    """Return the folders that this run is about: where it was started, its root, and those that were named."""
    start = config.invocation_params.dir
    named = [start / str(name).split("::")[0] for name in config.known_args_namespace.file_or_dir]
    return {start, config.rootpath, *(path if path.is_dir() else path.parent for path in named)}


def _is_workspace(folder: Path) -> bool:
    started = (folder / ".minillm" / "exercises.json").is_file()
    return started or any(_is_exercise(file) for file in folder.glob("[0-9][0-9]_*.py"))


def _is_exercise(file: Path) -> bool:
    if not re.fullmatch(EXERCISE, file.name):
        return False
    from minillm.classroom.exercises.workspace import is_exercise_file

    return is_exercise_file(file)


class Broken(Exception):
    """Raised when a check fails. The message is the complete report."""


class ReportedItem(pytest.Item):
    """A test whose failure is shown as a report, without a traceback."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return only the report."""
        if isinstance(excinfo.value, Broken):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the file and the name."""
        return self.path, None, self.name


class ExerciseFile(pytest.File):
    """One exercise of a workspace."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one test. `-k` also finds it by the names of its concepts."""
        from minillm.classroom.exercises.exercise import find_exercise

        exercise = find_exercise(self.path.stem)
        item = ExerciseItem.from_parent(self, name=exercise.name)
        item.extra_keyword_matches.update(exercise.concepts)
        yield item


class ExerciseItem(ReportedItem):
    """The check of one exercise. The learner's code runs in a worker process, never in this process."""

    def runtest(self) -> None:
        """Check the exercise."""
        from minillm.classroom.exercises.checker import check_apart
        from minillm.classroom.exercises.exercise import find_exercise
        from minillm.classroom.exercises.report import verdict_text
        from minillm.classroom.exercises.workspace import read_source
        from minillm.classroom.worker.worker import Worker

        stash = self.config.stash
        if WORKER not in stash:
            stash[WORKER] = Worker()
        try:
            source = read_source(self.path)
        except (ValueError, OSError) as problem:
            raise Broken(str(problem)) from None
        if source == find_exercise(self.name).stub:
            pytest.skip("not started yet")
        verdict = check_apart(find_exercise(self.name), source, stash[WORKER])
        if not verdict.passed:
            raise Broken(verdict_text(verdict))


class EngineFile(pytest.File):
    """An engine under test."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one test for each property, and one for all sequences of calls."""
        from minillm.verification.cache_properties import PROPERTIES, run_property, run_schedules

        _, (engines, has, findings, *_) = self.config.stash[ENGINE]
        searches = {
            holds.__name__: (needs, partial(run_property, holds, engines)) for holds, needs in PROPERTIES.items()
        }
        for name, (needs, search) in {**searches, "any_schedule": ((), partial(run_schedules, engines))}.items():
            missing = [function for function in needs if not has(function)]
            yield EngineItem.from_parent(self, name=name, missing=missing, search=search, findings=findings)


class EngineItem(ReportedItem):
    """One property of an engine."""

    def __init__(self, *, missing: list[str], search: Callable[[], None], findings: Any, **more: Any) -> None:
        """Make a test. If functions are `missing`, it is skipped. `search` looks for a counterexample."""
        super().__init__(**more)
        self.missing, self.search, self.findings = missing, search, findings

    def runtest(self) -> None:
        """Search for the smallest counterexample."""
        from hypothesis.errors import Flaky, Unsatisfiable

        if self.missing:
            pytest.skip(f"{self.path.name} has no {', '.join(self.missing)}")
        self.findings.clear()
        try:
            self.search()
        except AssertionError as problem:
            raise Broken(f"Smallest failing example:\n{problem}") from None
        except Flaky:  # the time for shrinking was over
            raise Broken(f"Smallest failing example so far:\n{self.findings.smallest}") from None
        except Unsatisfiable:
            pytest.skip(f"{self.path.name} refused every example: {self.findings.refusal}")
        self.config.stash.setdefault(PASSED, {})[self.name] = self.findings.summary()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print how close each passing property was to its tolerance, and what the engine refused."""
    if passed := config.stash.get(PASSED, {}):
        terminalreporter.section("engine", "-")
        for name, summary in passed.items():
            terminalreporter.line(f"{name}: {summary}")
