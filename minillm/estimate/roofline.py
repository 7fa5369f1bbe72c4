"""The roofline: a computation takes as long as its arithmetic or its reading of memory, whichever is slower.

Source: Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009. At a machine's datasheet peak the time is a lower
bound. Real kernels reach a fraction of each peak: model FLOPs utilisation (MFU) and memory bandwidth utilisation
(MBU).
"""

from dataclasses import dataclass

from minillm.estimate.hardware import Machine
from minillm.estimate.units import Number
from minillm.estimate.work import Work


@dataclass(frozen=True)
class Time:
    """Seconds of one forward pass, by cause.

    Attributes:
        compute_s: arithmetic; overlaps with reading memory, so only the longer counts.
        memory_s: reading weights and cache.
        overhead_s: neither of the two: calls, kernel launches, small operations.
        communication_s: between GPUs.
        file_s: reading streamed layers; overlaps with all of the above.
    """

    compute_s: Number
    memory_s: Number
    overhead_s: Number = 0.0
    communication_s: Number = 0.0
    file_s: Number = 0.0

    @property
    def seconds(self) -> Number:
        """Return the total; of arithmetic and memory only the longer counts, and of all that and the file too."""
        return max(max(self.compute_s, self.memory_s) + self.overhead_s + self.communication_s, self.file_s)

    @property
    def bound(self) -> str:
        """Return the cause that takes longest: "compute", "memory", "overhead", "communication" or "file"."""
        if self.file_s and self.file_s == self.seconds:
            return "file"
        parts = {"memory": self.memory_s, "compute": self.compute_s}
        parts |= {"overhead": self.overhead_s, "communication": self.communication_s}
        return max(parts, key=lambda name: parts[name])


def ridge_flops_per_byte(machine: Machine) -> Number:
    """Return the intensity at which arithmetic and memory take equally long; below it memory is the limit."""
    return machine.flops_per_s / machine.bandwidth_bytes_per_s


def attainable_flops_per_s(machine: Machine, intensity: Number) -> Number:
    """Return the roofline itself: operations per second that work of this intensity (FLOP/byte) can reach."""
    return min(machine.flops_per_s, intensity * machine.bandwidth_bytes_per_s)


def roofline_time(work: Work, machine: Machine, mfu: Number = 1.0, mbu: Number = 1.0) -> Time:
    """Return the time of this work at these fractions of the machine's peaks."""
    return Time(work.flops / (machine.flops_per_s * mfu), work.bytes / (machine.bandwidth_bytes_per_s * mbu))
