"""What streaming a model takes: `python resident_streaming.py MODEL BACKEND WEIGHTS LAYERS MB` prints bytes as JSON.

Two things are measured, because neither alone is honest. The most memory that is resident (VmHWM) counts pages that are
touched. A limit (RLIMIT_DATA) of MB more megabytes than the process has when the files are open is enforced by the
system: it counts all writable memory, touched or not, and not the files that the system keeps in its page cache.

    opened    import NumPy, minillm and the backend; then open the files: libraries, headers, the tokenizer
    peak      the most that was resident during loading, a prefill of 8 tokens and 2 decode steps, more than in `opened`
    tokens    what they gave; an empty list if the memory did not suffice
"""

import json
import resource
import sys
from importlib import import_module

import numpy as np
from quantization.resident import resident

import minillm
from minillm.backends import get_backend
from minillm.backends.memory import keep_freed_memory

load = import_module("minillm.loading.load")


def measure(model: str, backend: str, weights: str, layers: str, more: str) -> dict:
    keep_freed_memory()  # as the command `minillm` does
    get_backend(backend)
    np.ones((512, 512), np.float32) @ np.ones((512, 512), np.float32)  # the buffers of the matrix library
    checkpoint = load.open_checkpoint(model)
    load.open_checkpoint = lambda name: checkpoint  # opened once, and counted by itself
    opened = resident("VmRSS")
    if float(more):
        limit = resident("VmData") + int(float(more) * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        loaded = load.load(model, backend, weights=weights, layers=layers)
        tokens = minillm.generate(loaded, list(range(5, 13)), 2, minillm.Sampling(ignore_eos=True)).tokens
    except (MemoryError, ValueError) as problem:
        return {"tokens": [], "problem": f"{type(problem).__name__}: {problem}", "peak": resident("VmHWM") - opened}
    return {"opened": opened, "peak": resident("VmHWM") - opened, "added": resident("VmRSS") - opened, "tokens": tokens}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
