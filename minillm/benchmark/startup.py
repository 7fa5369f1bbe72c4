"""How long an engine takes to start: its import and its load of the model, in a separate process."""

import subprocess
import sys

from minillm.backends.threads import environment_for
from minillm.benchmark.engines import Launch

PROGRAM = """
from time import perf_counter as now
begun = now()
{imports}
imported = now()
{loads}
print(imported - begun, now() - imported)
"""


def startup_seconds(launch: Launch, threads: int) -> tuple[float, float]:
    """Return the seconds of the import and of the load.

    Raises:
        ValueError: the import or the load failed.
    """
    program = PROGRAM.format(imports=launch.imports, loads=launch.loads)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment_for(threads), check=False
    )
    if done.returncode:
        raise ValueError(f"{launch.name} failed to load: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    import_s, load_s = done.stdout.split()[-2:]
    return float(import_s), float(load_s)
