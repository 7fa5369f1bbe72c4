"""Every kernel compiles for the GPUs that count, without one: NVRTC needs no device and no driver."""

import re
import warnings

import pytest

from minillm.backends.kernels import COMPUTED_AND_STORED, source

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # CuPy's, about optional packages that are not installed
    from cupy_backends.cuda.libs import nvrtc

ARCHITECTURES = ("sm_80", "sm_90")  # A100, H100


def compiled(code, architecture):
    """The machine code; NVRTC's own message if there is none."""
    program = nvrtc.createProgram(code, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, [f"--gpu-architecture={architecture}", "--std=c++17"])
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError:
        raise ValueError(nvrtc.getProgramLog(program)) from None
    finally:
        nvrtc.destroyProgram(program)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kinds", COMPUTED_AND_STORED)
def test_all_kernels_compile(kinds, architecture):
    code = source(*kinds)
    machine_code = compiled(code, architecture)
    names = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(', code)
    assert len(names) == 10
    assert all(name.encode() in machine_code for name in names)


def test_a_type_error_is_found():
    code = source("float32", "float32").replace("real scale = 1 / sqrt(", "real* scale = 1 / sqrt(")
    with pytest.raises(ValueError, match="cannot be used to initialize an entity of type"):
        compiled(code, "sm_90")
