"""A stand-in for another engine, run as a process: behaves as its first argument says."""

import json
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
    answers = {
        "works": {"prefill_s": request["context"] / 1000, "decode_s": request["new_tokens"] / 10},
        "fails": {"error": "RuntimeError: out\nof memory"},
        "says nothing": {},
        "says NaN": {"prefill_s": float("nan"), "decode_s": 1.0},
        "takes no time": {"prefill_s": 0.0, "decode_s": 1.0},
        "says a list": [1.0, 2.0],
    }
    print(json.dumps(answers[behaviour]), flush=True)
