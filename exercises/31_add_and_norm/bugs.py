"""Wrong answers to `add_and_norm`."""

import numpy as np


def _norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def stream_normalised(stream, output, weight, eps):
    """The stream itself was normalised (post-norm). Return the plain sum as the new stream."""
    normalised = _norm(stream + output, weight, eps)
    return normalised, normalised


def only_the_output_normalised(stream, output, weight, eps):
    """Only `output` was normalised. The next part reads the whole stream: normalise the sum."""
    return stream + output, _norm(output, weight, eps)


def normalised_before_the_sum(stream, output, weight, eps):
    """The old stream was normalised: add `output` first."""
    return stream + output, _norm(stream, weight, eps)


def not_added(stream, output, weight, eps):
    """The new stream lacks `output`: return the sum that was normalised."""
    return stream, _norm(stream + output, weight, eps)


def residual_left_out(stream, output, weight, eps):
    """The old stream is lost: the new stream is stream + output, not output alone."""
    return output, _norm(output, weight, eps)


def mean_subtracted(stream, output, weight, eps):
    """That is LayerNorm. RMSNorm does not subtract the mean of the row."""
    x = stream + output
    return x, _norm(x - x.mean(axis=-1, keepdims=True), weight, eps)


def sum_of_squares(stream, output, weight, eps):
    """The sum of the squares was used, so the result is smaller by the root of dim: use their mean."""
    x = stream + output
    return x, x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + eps) * weight


def root_missing(stream, output, weight, eps):
    """The rows were divided by the mean square: take its square root."""
    x = stream + output
    return x, x / ((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def eps_after_the_root(stream, output, weight, eps):
    """eps was added after the square root: add it to the mean square, before the root."""
    x = stream + output
    return x, x / (np.sqrt((x * x).mean(axis=-1, keepdims=True)) + eps) * weight


def eps_missing(stream, output, weight, eps):
    """eps was not added, so a row of zeros is divided by 0."""
    return stream + output, _norm(stream + output, weight, 0.0)


def one_mean_for_all_rows(stream, output, weight, eps):
    """All rows were divided by the same number: each row has its own mean square, along the last axis."""
    x = stream + output
    return x, x / np.sqrt((x * x).mean() + eps) * weight


def mean_of_columns(stream, output, weight, eps):
    """The mean was taken down the columns: it belongs to a row, along the last axis."""
    x = stream + output
    return x, x / np.sqrt((x * x).mean(axis=0, keepdims=True) + eps) * weight


def weight_missing(stream, output, weight, eps):
    """The learned weight was not applied: multiply each normalised row by it."""
    return stream + output, _norm(stream + output, 1.0, eps)
