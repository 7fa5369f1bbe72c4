"""What this machine can do, as measured, and the least time that work takes on it.

Decode moves bytes: all weights and the whole cache for each step. Prefill multiplies matrices. The roofline of either
is the longer of the two times (Williams, Waterman, Patterson, CACM 52(4), 2009).
"""

from dataclasses import dataclass

from minillm.estimate.work import Work


@dataclass(frozen=True)
class Limits:
    """The machine's limits: bytes per second, floating-point operations per second."""

    bandwidth: float
    matmul: float

    def seconds(self, work: Work) -> float:
        """Return the least time in which this work can be done."""
        return max(work.bytes / self.bandwidth, work.flops / self.matmul)
