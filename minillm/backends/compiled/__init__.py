"""The kernels of the `compiled` backend: the hot loops of a forward pass, as loops, compiled by numba.

Read them in this order:

    vectors/         registers of several numbers, as values of a loop
    compiling.py     from a Python function to machine code; machine_code.py stores it in a cache folder, and
                     compile_progress.py shows what is compiled
    sharing.py       several threads work through a kernel together
    weights.py       a matrix in tiles of 32 outputs, in five formats; packed.py and packing.py bring it into them
    rounding.py      weights to 16, 8 or 4 bits, when a model is loaded; rounded.py calls it
    blocks.py        up to 6 rows times 16 outputs, with the sums in registers: the inner loop of everything
    product.py       rows times a matrix
    exponential.py   exp, for softmax and SwiGLU
    plan.py          the tasks of attention; attention.py: queries over caches, in the pieces of pieces.py;
                     int8_rows.py: keys and values in 8 bits
    rows.py          RMSNorm, RoPE, SwiGLU, embedding
    step.py          all of it: a step through the layers, in one call; backend.py calls the kernels

**The same bits in every schedule.** Each kernel fixes the order of its operations by what it computes, never by how it
is called. An output of a product is the sum over inputs in their order, with one multiply-add each, for one row as for
many. Attention reads keys in pieces that begin at multiples of 64 positions, and merges the pieces in order. So a token
has the same bits alone or in a batch, in a prompt of one chunk or of many, paged or not, with any number of threads.
Between kinds of processors bits may differ, because NumPy's cosine and sine do.
"""
