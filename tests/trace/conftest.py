"""The golden runs, each made once more."""

import golden_runs
import pytest


@pytest.fixture(scope="session")
def runs_again(tmp_path_factory):
    """The file of each golden run, recorded now."""
    files = {name: tmp_path_factory.mktemp("golden") / f"{name}.jsonl" for name in golden_runs.NAMES}
    for name, file in files.items():
        getattr(golden_runs, name)(file)
    return files
