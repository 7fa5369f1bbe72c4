"""The properties that our engine is held to, on transformers' own model and cache."""

from pathlib import Path

import pytest

from minillm.classroom.engine_file import load_engine
from minillm.classroom.engine_properties import PROPERTIES, run_property

# Its newest versions call the argument `cache`; those before know only this name.
pytestmark = pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
ENGINE = Path(__file__).with_name("transformers_engine.py")


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_transformers_cache(holds):
    engines, has = load_engine(ENGINE)
    if not all(has(name) for name in PROPERTIES[holds]):
        pytest.skip(f"transformers has no {PROPERTIES[holds]}")
    run_property(holds, engines, examples=10)


def test_a_cache_that_is_not_cropped_is_found(tmp_path):
    text = ENGINE.read_text()
    assert "cache.crop(length - cache.get_seq_length())" in text
    (tmp_path / "engine.py").write_text(text.replace("cache.crop(length - cache.get_seq_length())", "pass"))
    engines, _ = load_engine(tmp_path / "engine.py")
    [holds] = [holds for holds in PROPERTIES if holds.__name__ == "truncated_tokens_were_never_there"]
    with pytest.raises(AssertionError, match="truncate"):
        run_property(holds, engines, examples=5)
