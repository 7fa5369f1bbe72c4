"""A stand-in for another engine, run as a process: behaves as its first argument says."""

import json
import os
import sys
import time

behaviour = sys.argv[1]
if behaviour == "dies at start":
    sys.exit(3)
if behaviour == "hangs":
    time.sleep(600)
print("Loading..." if behaviour == "prints at start" else "{}", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if behaviour == "dies when asked":
        sys.exit(4)
    if behaviour == "says half a line":
        print('{"prefill_s"', end="", flush=True)
        time.sleep(600)
    prompt, steps = request.get("prompt", []), request.get("new_tokens", 1)
    works = {
        "prefill_s": len(prompt) / 1000,  # 1000 tokens a second
        "decode_s": steps / 10,  # 10 steps a second, however many sequences
        "tokens": [1] * (steps + 1),
        "peak_memory_bytes": 1_000_000,
    }
    answers = {
        "works": works,
        "chooses otherwise": works | {"tokens": [1] * steps + [2]},
        "measures": {"bandwidth": 4e9, "matmul": 6e9},
        "tells its threads": {"threads": float(os.environ["OPENBLAS_NUM_THREADS"])},
        "fails": {"error": "RuntimeError: out\nof memory"},
        "says nothing": {},
        "says NaN": works | {"prefill_s": float("nan")},
        "takes no time": works | {"decode_s": 0.0},
        "says text for tokens": works | {"tokens": ["1"] * (steps + 1)},
        "says too few tokens": works | {"tokens": [1]},
        "says no memory": works | {"peak_memory_bytes": None},
        "says a list": [1.0, 2.0],
    }
    print(json.dumps(answers[behaviour]), flush=True)
