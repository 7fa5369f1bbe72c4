"""The oracle: transformers on torch, which must be there (extra `oracle`). A missing one fails; nothing is skipped."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the oracle's own imports
    import torch
    import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are tiny: a second thread would only wait


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
