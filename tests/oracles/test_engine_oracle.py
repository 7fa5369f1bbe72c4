"""The properties that our engine is held to, on transformers' own model and cache."""

from pathlib import Path

import pytest

from minillm.verification.cache_properties import truncated_tokens_were_never_there
from minillm.verification.engine_file import load_engine
from minillm.verification.properties import NEEDS, run_property

# Its newest versions call the argument `cache`; those before know only this name.
pytestmark = pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
ENGINE = Path(__file__).with_name("transformers_engine.py")


ENGINES, HAS, *_ = load_engine(ENGINE)
REACHED = [holds for holds, needed in NEEDS.items() if all(HAS(name) for name in needed)]


@pytest.mark.parametrize("holds", REACHED, ids=lambda holds: holds.__name__)
def test_transformers_cache(holds):
    assert len(REACHED) == 6
    run_property(holds, ENGINES, examples=10)


def test_a_cache_that_is_not_cropped_is_found(tmp_path):
    text = ENGINE.read_text()
    assert "cache.crop(length - cache.get_seq_length())" in text
    (tmp_path / "engine.py").write_text(text.replace("cache.crop(length - cache.get_seq_length())", "pass"))
    engines, *_ = load_engine(tmp_path / "engine.py")
    with pytest.raises(AssertionError, match="truncate"):
        run_property(truncated_tokens_were_never_there, engines, examples=5)
