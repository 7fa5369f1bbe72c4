"""Ten thousand requests of a hundred tokens through the real scheduler, on the virtual clock."""

import json
import sys
from time import process_time

import numpy as np

from minillm.batching.virtual_engine import VirtualEngine
from minillm.estimate.arrivals import alike, poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import model_table
from minillm.estimate.serving import Serving
from minillm.estimate.virtual_clock import simulate_serving, step_seconds

serving = Serving(model_table()["llama-3-8b"], find_gpu("h100"))
arrivals = alike(poisson_times_s(40, int(sys.argv[1]), np.random.default_rng(0)), 100, 100)
started = process_time()
run = simulate_serving([VirtualEngine(num_blocks=20_000)], arrivals, step_seconds(serving))
print(json.dumps({"seconds": process_time() - started, "tokens": run.tokens, "steps": run.steps}))
