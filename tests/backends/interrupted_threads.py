"""Ctrl-C at many places of a shared forward pass: the next pass finds all threads ready, none of them waiting.

Run as a program, which is told the number of places: the shape checker has locks of its own.
"""

import faulthandler
import json
import sys
from contextlib import suppress

import numpy as np
from interrupts import CtrlC, hear_interrupts
from random_models import random_model

import minillm
from minillm.backends import side_by_side
from minillm.training.parameters import llama_config

CONFIG = llama_config(20, 8, 8, layers=2, heads=2, kv_heads=1, context=64)
TOKENS = list(range(12))

if __name__ == "__main__":
    hear_interrupts()
    side_by_side.ROWS_EACH = 0  # every forward pass is shared, however few rows it has
    model, counting = random_model(CONFIG, 0, "exact")[0], CtrlC()
    expected, places = minillm.forward(model, TOKENS), 0
    with counting:
        minillm.forward(model, TOKENS)
    for number in range(1, counting.count, counting.count // int(sys.argv[1])):
        faulthandler.dump_traceback_later(60, exit=True)  # if it hangs
        interrupt = CtrlC(number)
        with suppress(KeyboardInterrupt), interrupt:
            minillm.forward(model, TOKENS)
        assert np.array_equal(minillm.forward(model, TOKENS), expected), interrupt.callers
        places += "side_by_side" in interrupt.callers
    print(json.dumps(places))
