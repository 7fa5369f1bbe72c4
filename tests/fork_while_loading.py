"""Fork while another thread loads a compiled model: it ends with 0 if every child can do the same, in 60 seconds."""

import faulthandler
import os
import sys
import threading
import time

import numpy as np

import minillm


def logits():
    return minillm.forward(minillm.load("story-draft", "compiled"), [5, 6, 7])


def work(done):
    while not done.is_set():
        minillm.load("story-draft", "compiled")


if __name__ == "__main__":
    expected, done = logits(), threading.Event()
    thread = threading.Thread(target=work, args=[done])
    thread.start()
    ends = []
    for n in range(30):
        time.sleep(0.013 * n % 0.07)
        child = os.fork()
        if not child:
            faulthandler.dump_traceback_later(60, exit=True)  # a child that hangs
            os._exit(0 if np.array_equal(logits(), expected) else 1)
        ends.append(os.waitpid(child, 0)[1])
        if ends[-1]:
            break
    done.set()
    thread.join()
    sys.exit(any(ends))
