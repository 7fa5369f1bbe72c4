"""The CUDA source of `kernels.cu` for one kind of numbers and one kind of weights.

A kernel is compiled where it runs, by NVRTC, which needs no device: the tests compile all of them.
"""

from functools import cache
from pathlib import Path

THREADS = 256  # of a block, as in kernels.cu
REALS = {"float32": "float", "float64": "double"}  # what is computed in: a dtype's name, and C's
SAME = """typedef real stored;
__device__ real read(stored x) { return x; }
__device__ stored write(real x) { return x; }
"""
STORED = {  # the kinds of weights besides; bfloat16 is the upper half of a float32, rounded to even
    "float16": """#ifndef HALVES
__device__ float half_to_float(unsigned short x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
__device__ unsigned short float_to_half(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#endif
typedef unsigned short stored;
__device__ real read(stored x) { return half_to_float(x); }
__device__ stored write(real x) { return float_to_half(x); }
""",
    "bfloat16": """typedef unsigned short stored;
__device__ real read(stored x) { return __uint_as_float((unsigned)x << 16); }
__device__ stored write(real x) { unsigned y = __float_as_uint(x); return (y + 0x7fff + (y >> 16 & 1)) >> 16; }
""",
}
COMPUTED_AND_STORED = (("float32", "float32"), ("float32", "float16"), ("float32", "bfloat16"), ("float64", "float64"))


@cache
def source(real: str, stored: str) -> str:
    """All kernels, for numbers `real` and weights `stored`: a pair of COMPUTED_AND_STORED."""
    types = f"typedef {REALS[real]} real;\n" + STORED.get(stored, SAME)
    return types + Path(__file__).with_suffix(".cu").read_text(encoding="utf-8")
