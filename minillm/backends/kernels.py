"""The CUDA source of `kernels.cu` for one dtype of numbers and one dtype of weights.

NVRTC compiles the kernels on the machine where they run. NVRTC itself needs no device, so the tests can compile all.
"""

from functools import cache
from pathlib import Path

THREADS = 256  # threads of a block, as in kernels.cu
REALS = {"float32": "float", "float64": "double"}  # the dtypes that kernels compute in, and their names in C
SAME = """typedef real stored;
__device__ real read(stored x) { return x; }
__device__ stored write(real x) { return x; }
"""
STORED = {  # dtypes for weights alone; bfloat16 is the upper half of a float32, rounded to even
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
    """Return the source of all kernels for numbers in `real` and weights in `stored`, a pair of COMPUTED_AND_STORED."""
    types = f"typedef {REALS[real]} real;\n" + STORED.get(stored, SAME)
    return types + Path(__file__).with_suffix(".cu").read_text(encoding="utf-8")
