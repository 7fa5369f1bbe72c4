"""The two numbers of a byte are in the wrong order."""

import minillm

ENGINE = "OpenVINO"
KIND = "int4"
THREAD = "https://github.com/openvinotoolkit/openvino/pull/25827"
TITLE = "NPUW: Change the sub-byte (i4) element order in the unpack procedure to match OpenVINO 2024.0"
SEEN = "A model in 4 bits writes nonsense on one device, and is right on the others."
CAUSE = """
The order of two 4-bit numbers in a byte had been changed: the first is in the lower half. The code for one device still
read the first from the upper half.
"""
PROPERTY = "rounding_to_4_bits_is_off_by_half_a_step"
MODULE, FUNCTION = "minillm.quantization.int4", "Int4.numbers"
PATCH = [("[self.pairs & 15, self.pairs >> 4]", "[self.pairs >> 4, self.pairs & 15]")]


def answer(_):
    model = minillm.load("story", "plain", weights="int4")
    return [repr(minillm.generate(model, "The capital of France is", 12).text)]
