"""Every check by its name: `nox -l` lists them, `nox -s lint types` runs two, `nox` the quick ones.

Sessions run in the environment that nox is installed in (`pip install -e ".[test,lint]"`), so nothing is installed
twice. `nox --force-venv-backend venv -s tests` gives each an environment of its own. What follows `--` goes to pytest:
`nox -s tests -- -k attention`.
"""

import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "contracts", "quick"]
QUICK = ("tests/test_attention.py", "tests/kv_cache", "tests/test_layers.py", "tests/test_sampling.py")
PAGES = ("tests/test_pages.py", "tests/test_writing.py", "tests/cli/test_readme.py", "tests/test_api.py")


def run(session: nox.Session, extras: str, program: str, *arguments: str) -> None:
    """Run a program of this environment, or of the session's own, with these extras of minillm in it."""
    if session.venv_backend == "none":
        session.run(str(Path(sys.executable).with_name(program)), *arguments, external=True)
    else:
        session.install("-e", f".[{extras}]")
        session.run(program, *arguments)


@nox.session
def quick(session: nox.Session) -> None:
    """Attention, caches, layers, sampling: 199 tests in 20 seconds."""
    run(session, "test,compiled", "pytest", "-q", *QUICK, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow ones, and the Python examples of the pages. About 5 minutes on two cores."""
    run(session, "test,compiled", "pytest", "-q", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Long experiments and simulations: claims, papers, lessons, the commands of the pages. Minutes."""
    run(session, "test,lint,compiled", "pytest", "-q", "-m", "slow", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The pages: examples, commands, links, paths, words; and the examples of the API. Minutes."""
    run(session, "test,compiled", "pytest", "-q", "-m", "", "README.md", "docs", *PAGES, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """The rules and the format of ruff."""
    run(session, "lint", "ruff", "check", ".")
    run(session, "lint", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    run(session, "lint", "mypy")


@nox.session
def contracts(session: nox.Session) -> None:
    """Who may import whom."""
    run(session, "lint", "lint-imports")


@nox.session
def compiled(session: nox.Session) -> None:
    """The compiled backend, which plain pytest tests only if numba is there. Compiles for a minute or two at first."""
    run(session, "test,compiled", "pytest", "-q", "-m", "compiled and not slow", *session.posargs)


@nox.session
def parallel(session: nox.Session) -> None:
    """Several processes, which `mpiexec` starts: 2 to 4 ranks on two cores, tiny models. Under 3 minutes."""
    run(session, "test,compiled,mpi", "pytest", "-q", "-n", "0", "-m", "", "tests/parallel", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The page of a trace in Chromium (on Debian: `apt-get install chromium`): every step of every view. Minutes."""
    run(session, "browser", "pytest", "-q", "-n", "0", "-m", "", "tests/browser", *session.posargs)


@nox.session
def arm(session: nox.Session) -> None:
    """The exact backend's hashes on an emulated ARM: on Debian, with an environment in .venv."""
    session.run("scripts/check_arm.sh", external=True)


@nox.session
def oracles(session: nox.Session) -> None:
    """Logits, tokens, sampling, gradients and templates against transformers. Minutes; downloads smollm2."""
    run(session, "oracle,compiled", "pytest", "-q", "-m", "", "tests/oracles", *session.posargs)


@nox.session
def teeth(session: nox.Session) -> None:
    """Small bugs planted in the core files: do tests notice? About an hour; what follows `--` goes to the script."""
    run(session, "test,compiled", "python", "scripts/teeth.py", "--jobs", "2", *session.posargs)


@nox.session
def notebooks(session: nox.Session) -> None:
    """Every lesson as a notebook, in one process: two kernels that start together may choose the same ports."""
    run(session, "test,notebook,compiled", "pytest", "-q", "-n", "0", "-m", "", "tests/notebooks", *session.posargs)


@nox.session(venv_backend="venv")
def gpu(session: nox.Session) -> None:
    """The GPU backend, as far as a machine without a GPU can check it. Its wheels are about 1 GB."""
    session.install("-e", ".[gpu,test]")
    session.run("pytest", "-q", "-m", "", "tests/gpu", *session.posargs)


@nox.session(venv_backend="venv")
def wheel(session: nox.Session) -> None:
    """The wheel carries the models, lessons and exercises: installed in another place, it answers and teaches there."""
    with tempfile.TemporaryDirectory() as place:
        session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ".")
        session.install("--force-reinstall", *map(str, Path(place).glob("*.whl")))
        with session.chdir(place):
            for command in (("generate", "The capital of France is"), ("lesson", "1", "--no-input")):
                if "Paris" not in (session.run("minillm", *command, silent=True) or ""):
                    session.error(f"minillm {' '.join(command)}: expected Paris in what it prints")
            session.run("minillm", "course", "check")
            session.run("minillm", "exercise", "start", "exercises")
