"""A model in one format: `python -m minillm.benchmark.engine_format MODEL BACKEND WEIGHTS`, asked like every engine.

Its answers also say how much memory loading added.
"""

import gc
import os
import subprocess
from typing import Any

from minillm.backends.memory import keep_freed_memory
from minillm.benchmark.engine_loop import Answer, answer_requests, generate
from minillm.benchmark.engine_minillm import Minillm
from minillm.loading.load import load as load_model

STATM = "/proc/self/statm"  # of Linux: pages of the process, then those in memory


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory now."""
    gc.collect()
    if os.path.exists(STATM):
        with open(STATM) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024


def load(name: str, backend: str, weights: str) -> Answer:
    """Load the model; return the function that answers requests.

    A small model is loaded first, so that imports are not counted as memory of the model.
    """
    small = load_model("story-draft", backend, weights=weights)
    before = resident_bytes()
    model = load_model(name, backend, weights=weights)
    added = resident_bytes() - before
    del small
    keep_freed_memory()  # as the command `minillm` does; not before, because it would count as memory of the model
    engine = Minillm(model)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request.get("task") == "memory":
            return {"resident_bytes": float(added)}
        return generate(engine, request)

    return answer


if __name__ == "__main__":
    answer_requests(load)
