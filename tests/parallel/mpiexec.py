"""Run a Python script on several ranks, as `mpiexec -n 3 python script.py` does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def environment() -> dict[str, str]:
    """This environment, with one thread for each process."""
    threads = dict.fromkeys(["OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"], "1")
    return os.environ | threads | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def start(ranks: int, *arguments: str, **options) -> subprocess.Popen:
    """Start this interpreter with these arguments on each rank, with one thread each."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, *arguments]
    piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment(), cwd=ROOT, **(piped | options))


def run(ranks: int, *arguments: str, timeout: float = 60, **options) -> subprocess.CompletedProcess:
    """Run it to the end."""
    with start(ranks, *arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_script(ranks: int, script: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run a script that is given as text."""
    return run(ranks, "-c", script, *arguments, **options)
