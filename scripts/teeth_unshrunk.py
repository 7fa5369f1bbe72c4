"""A plugin of pytest for `scripts/teeth.py`: a failure is enough, and Hypothesis looks for no smaller one.

On a busy machine that search takes minutes for each mutant, and it changes no verdict.
"""

import pytest
from hypothesis import Phase, settings


@pytest.hookimpl(trylast=True)
def pytest_configure():
    """Change the settings that tests/conftest.py has loaded, before the tests are imported."""
    settings.register_profile("unshrunk", settings(), phases=(Phase.explicit, Phase.generate))
    settings.load_profile("unshrunk")
