"""Fork while another thread prefills, and compare what the children compute: `fork_while_prefilling.py BACKEND TOKENS`.

It ends with 0 if every child gives what the parent gives: on the compiled backend to the bit, else nearly, since BLAS
libraries add in another order with other numbers of threads.
"""

import os
import sys
import threading

import numpy as np

import minillm

BACKEND, TOKENS = sys.argv[1], int(sys.argv[2])
MODEL, IDS = minillm.load("story", BACKEND), list(range(3, 3 + TOKENS))
same = np.array_equal if BACKEND == "compiled" else lambda a, b: np.allclose(a, b, atol=1e-3)


def prefill():
    return minillm.prefill(MODEL, IDS, minillm.KVCache(MODEL, len(IDS)))


def work(done):
    while not done.is_set():
        prefill()


if __name__ == "__main__":
    expected, done = prefill(), threading.Event()
    thread = threading.Thread(target=work, args=[done])
    thread.start()
    ends = []
    for _ in range(5):
        child = os.fork()
        if not child:
            os._exit(0 if same(prefill(), expected) else 1)
        ends.append(os.waitpid(child, 0)[1])
    done.set()
    thread.join()
    sys.exit(any(ends))
