"""What a model adds to the memory of a process: `python resident.py MODEL BACKEND WEIGHTS` prints bytes as JSON.

Memory is what the system says is resident (VmRSS). The steps are those of a user, and after each the memory is read:

    opened    import NumPy, minillm and the backend, and run a small model; then open the files: libraries, machine
              code, headers, the tokenizer
    added     load the model, and run one decode step
    peak      the most meanwhile (VmHWM)

`opened` counts from the imports of NumPy and minillm; `added` and `peak` count from the end of `opened`.
"""

import json
import sys

import numpy as np

import minillm
from minillm.loading import load


def resident(name: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return 1024 * int(next(line.split()[1] for line in file if line.startswith(name)))


def measure(model: str, backend: str, weights: str) -> dict[str, int]:
    start = resident("VmRSS")
    minillm.forward(minillm.load("story-draft", backend, weights=weights), [5])
    np.ones((1, 64), np.float32) @ np.ones((64, 64), np.float32)  # the buffers of the matrix library
    checkpoint = load.open_checkpoint(model)
    load.open_checkpoint = lambda name: checkpoint  # opened once, and counted by itself
    opened = resident("VmRSS")
    loaded = load.load(model, backend, weights=weights)
    peak = resident("VmHWM")
    minillm.decode_step(loaded, 5, minillm.KVCache(loaded, 16))
    return {"opened": opened - start, "added": resident("VmRSS") - opened, "peak": peak - opened}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
