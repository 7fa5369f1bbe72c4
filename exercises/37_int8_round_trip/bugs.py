"""Wrong answers to `int8_round_trip`."""

import numpy as np


def _round_trip(groups, scales, round_to=np.rint, bound=None):
    steps = np.where(scales == 0, 1.0, scales)[:, None]
    numbers = round_to(groups / steps).astype(np.int64).astype(np.int8)
    return numbers, scales, numbers * scales[:, None], scales / 2 if bound is None else bound


def _scales(groups):
    return np.abs(groups).max(axis=-1) / 127


def divided_by_128(groups):
    """The scale was computed with 128. Then the largest weight becomes 128, which int8 turns into -128. Use 127."""
    return _round_trip(groups, np.abs(groups).max(axis=-1) / 128)


def divided_by_255(groups):
    """The scale was computed with 255, so numbers go up to 255, and int8 wraps them: from -127 to 127 use 127."""
    return _round_trip(groups, np.abs(groups).max(axis=-1) / 255)


def truncated(groups):
    """The decimals were cut off (astype alone does that), so the error is up to a whole step: use np.rint first."""
    return _round_trip(groups, _scales(groups), np.trunc)


def sign_ignored(groups):
    """The largest weight was taken without its absolute value: a negative one may be larger."""
    return _round_trip(groups, groups.max(axis=-1) / 127)


def range_of_the_group(groups):
    """The scale was computed from the largest minus the smallest weight: use the largest absolute value."""
    return _round_trip(groups, (groups.max(axis=-1) - groups.min(axis=-1)) / 255)


def one_scale_for_all(groups):
    """All groups have the same scale, that of the largest weight of all: each group has its own."""
    return _round_trip(groups, np.full(len(groups), np.abs(groups).max() / 127))


def divided_by_zero(groups):
    """A group of zeros was divided by its scale, 0, and 0 / 0 is NaN: divide it by 1."""
    scales = _scales(groups)
    numbers = np.rint(groups / scales[:, None]).astype(np.int8)
    return numbers, scales, numbers * scales[:, None], scales / 2


def zeros_with_scale_one(groups):
    """A group of zeros has the scale 1, which was only meant to avoid a division by 0: return the scale 0."""
    scales = _scales(groups)
    return _round_trip(groups, np.where(scales == 0, 1.0, scales))


def whole_step_as_bound(groups):
    """The bound is a whole step: rounding to the nearest step moves a weight by at most half a step."""
    return _round_trip(groups, _scales(groups), bound=_scales(groups))


def measured_error_as_bound(groups):
    """That is the error of these weights. The bound says what any weight of such a group can have: half a scale."""
    numbers, scales, restored, _ = _round_trip(groups, _scales(groups))
    return numbers, scales, restored, np.abs(restored - groups).max(axis=-1)


def one_bound_for_all(groups):
    """All groups have the bound of the group with the largest scale: each group has its own."""
    scales = _scales(groups)
    return _round_trip(groups, scales, bound=np.full(len(scales), scales.max() / 2))


def numbers_not_restored(groups):
    """The weights themselves were returned as the restored ones: restore them from the numbers and the scales."""
    numbers, scales, _, bound = _round_trip(groups, _scales(groups))
    return numbers, scales, groups.copy(), bound
