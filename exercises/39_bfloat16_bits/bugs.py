"""Wrong answers to `bfloat16_bits`."""

import numpy as np


def _restored(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _both(bits):
    return bits.astype(np.uint16), _restored(bits.astype(np.uint16))


def truncated(values):
    """The lower bits were cut off, which rounds towards 0: round to the nearest bfloat16."""
    return _both(values.view(np.uint32) >> 16)


def half_rounds_up(values):
    """Exactly half was always rounded away from 0: round it to the neighbour whose last bit is 0."""
    return _both((values.view(np.uint32) + 0x8000) >> 16)


def half_rounds_down(values):
    """Exactly half was always rounded towards 0: round it to the neighbour whose last bit is 0."""
    return _both((values.view(np.uint32) + 0x7FFF) >> 16)


def float16_instead(values):
    """That is float16: it has 5 bits of exponent. A bfloat16 has the 8 bits of float32."""
    with np.errstate(all="ignore"):
        half = values.astype(np.float16)
    return half.view(np.uint16), half.astype(np.float32)


def lower_half(values):
    """These are the lower 16 bits, the end of the fraction: sign and exponent are in the upper 16."""
    return _both(values.view(np.uint32) & 0xFFFF)


def number_converted(values):
    """The number was converted to an integer: reinterpret its bits with view, not with astype."""
    with np.errstate(all="ignore"):
        return _both(values.astype(np.float64).clip(0, 65535).astype(np.uint16))


def restored_as_integers(values):
    """The bits were converted to a float as an integer: move them 16 bits to the left, then view them as float32."""
    whole = values.view(np.uint32)
    bits = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)
    return bits, bits.astype(np.float32)


def values_not_restored(values):
    """The values themselves were returned as the restored ones: make them from the bits."""
    whole = values.view(np.uint32)
    return ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16), values.copy()


def bytes_exchanged(values):
    """The two bytes of each number are exchanged: a byte view begins with the lower byte here."""
    whole = values.view(np.uint32)
    bits = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)
    return bits.byteswap(), _restored(bits)
