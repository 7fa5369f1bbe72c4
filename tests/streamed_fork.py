"""Fork while another thread runs a streamed model: prints how the children ended that ran it too, as JSON."""

import json
import os
import threading

import numpy as np

import minillm

MODEL = minillm.load("story", "exact", layers="streamed")


def logits():
    return minillm.forward(MODEL, [5, 6, 7])


if __name__ == "__main__":
    expected, done = logits(), threading.Event()

    def work():
        while not done.is_set():
            logits()

    thread = threading.Thread(target=work)
    thread.start()
    ends = []
    for _ in range(5):
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(logits(), expected) else 1)
        ends.append(os.waitpid(child, 0)[1])
    done.set()
    thread.join()
    print(json.dumps({"ends": ends}))
