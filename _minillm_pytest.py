"""minillm's pytest plugin: run the exercises of a workspace as tests, and the properties of a learner's engine.

    pytest                       in a workspace: one test for each exercise
    pytest -k kv_cache           the exercises of one concept
    pytest --minillm-engine my_engine.py    the equivalence properties of this engine, or of a shipped adapter

This module is outside the package and imports the package only when needed. pytest loads every plugin at its start, but
tools that instrument imports (coverage, shape checks) must be loaded before minillm.
"""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ENGINE_OPTION, REPORT_OPTION = "--minillm-engine", "--minillm-report"
IMPORT_SECONDS = 10.0  # after which a slow import is announced
EXERCISE = r"\d\d_\w+\.py"
WORKER: pytest.StashKey[Any] = pytest.StashKey()
ENGINE: pytest.StashKey[Any] = pytest.StashKey()
RESULTS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
UNWRITTEN: pytest.StashKey[str] = pytest.StashKey()
INTERRUPTED: pytest.StashKey[tuple[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("minillm")
    group.addoption(
        ENGINE_OPTION, metavar="FILE", help="run minillm's equivalence properties on the engine in this file, or on a "
        "shipped adapter"
    )  # fmt: skip
    group.addoption(REPORT_OPTION, metavar="FILE", help="write the results of the properties as JSON")


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
    from minillm.verification.engine_file import load_engines
    from minillm.verification.engine_process import EngineProcess
    from minillm.verification.shipped_adapters import find_engine_file

    try:
        file = find_engine_file(name, config.invocation_params.dir)
        with _said_if_it_takes_long(config, file):
            process = EngineProcess(file, show_output=config.getoption("capture") == "no")
        config.stash[ENGINE] = (file, load_engines(file, process))
    except (ValueError, OSError) as problem:
        raise pytest.UsageError(f"{ENGINE_OPTION}: {problem}") from None
    config.args = [str(file)]
    config.stash[RESULTS] = []
    config.pluginmanager.register(ResultCollector(config.stash[RESULTS]))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def _said_if_it_takes_long(config: pytest.Config, file: Path) -> Iterator[None]:
    """Say that the engine's file is being imported, after a while, and where Ctrl-C came."""

    def say() -> None:
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"minillm: {file.name} is being imported; Ctrl-C ends it", file=sys.stderr, flush=True)

    timer = threading.Timer(IMPORT_SECONDS, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        raise pytest.UsageError(f"{ENGINE_OPTION}: interrupted while {file.name} was being imported") from None
    finally:
        timer.cancel()


class ResultCollector:
    """Keeps the results of the properties. With pytest-xdist, they come from other processes."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        """Append all results to a list."""
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the result of a test."""
        if report.when == "call" and report.user_properties:
            self._results.append(dict(report.user_properties))


def _interrupt(*_: object) -> None:
    """End the run as Ctrl-C does: with the smallest failing example so far."""
    raise KeyboardInterrupt("SIGTERM")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the worker, and the engine's process."""
    if ENGINE in config.stash:
        config.stash[ENGINE][1][0].close()
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
    """The engines of a file."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one test for each engine and property."""
        from minillm.verification.properties import PROPERTIES

        known: list[Any] = []  # the results so far
        written: set[Path] = set()
        for loaded in self.config.stash[ENGINE][1]:
            before = f"{loaded.adapter.name}::" if loaded.adapter.listed else ""
            for name, tried in PROPERTIES.items():
                item = EngineItem.from_parent(self, name=before + name)
                item.tried, item.loaded, item.known, item.written = (name, tried), loaded, known, written
                yield item


class EngineItem(ReportedItem):
    """One property of one engine.

    Attributes:
        tried: the name of the property, and the property.
        loaded: the engine.
        known: the results so far.
        written: the files with failing examples so far.
    """

    tried: tuple[str, Any]
    loaded: Any
    known: list[Any]
    written: set[Path]

    def runtest(self) -> None:
        """Search for the smallest counterexample."""
        from minillm.verification.report import fields
        from minillm.verification.search import FAILURES, PASSED, search, so_far

        try:
            with self._progress():
                result = search(*self.tried, self.loaded, self.known)
        except BaseException:  # Ctrl-C, or a time limit of pytest-timeout
            found = so_far(self.tried[0], self.loaded)
            if found is not None:
                self.config.stash[INTERRUPTED] = (found.name, found.report() + self._file_with(found))
            raise
        self.known.append(result)
        self.user_properties.extend(fields(result).items())
        if result.verdict in FAILURES:
            raise Broken(result.report() + self._file_with(result))
        if result.verdict != PASSED:
            pytest.skip(result.summary)

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Show the progress, if this is a terminal."""
        from minillm.verification.progress import shown_by

        plugins = self.config.pluginmanager
        terminal, capture = plugins.getplugin("terminalreporter"), plugins.getplugin("capturemanager")
        progress = shown_by(terminal, capture, self.loaded.findings)
        try:
            yield
        finally:
            if progress is not None:
                progress.end()

    def _file_with(self, result: Any) -> str:
        """Write the example into a file, and return a line that names it."""
        from minillm.support.wording import failure_text
        from minillm.verification.failure_file import write_failure

        if result.same_as:
            return ""
        folder = self.config.invocation_params.dir
        worker = getattr(self.config, "workerinput", {}).get("workerid", "")  # of pytest-xdist
        try:
            file = write_failure(folder, self.path, self.loaded.adapter, result, self.written, worker)
        except OSError as problem:
            return f"\nthe example cannot be written: {failure_text(problem)}"
        return f"\nto run it again: python {file.name}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the results as JSON. If that fails, the exit status is 2."""
    config = session.config
    told, file = config.stash.get(RESULTS, []), config.getoption(REPORT_OPTION)
    if not (told and file) or hasattr(config, "workerinput"):  # a process of pytest-xdist has only some results
        return
    from minillm.support.wording import failure_text
    from minillm.verification.report import as_json

    try:
        (config.invocation_params.dir / file).write_text(as_json(told))
    except OSError as problem:
        config.stash[UNWRITTEN] = f"{REPORT_OPTION}: the results cannot be written: {failure_text(problem)}"
        session.exitstatus = pytest.ExitCode.INTERRUPTED  # 2


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the verdict on each property, and the smallest failing example of an interrupted search."""
    if INTERRUPTED in config.stash:
        name, text = config.stash[INTERRUPTED]
        terminalreporter.section(f"interrupted: {name}", "-")
        terminalreporter.line(text)
    if told := config.stash.get(RESULTS, []):
        from minillm.verification.report import report_lines, result_of

        terminalreporter.section("engine", "-")
        for line in report_lines([result_of(one) for one in told]):
            terminalreporter.line(line)
    if UNWRITTEN in config.stash:
        terminalreporter.line(config.stash[UNWRITTEN], red=True)
