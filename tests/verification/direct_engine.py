"""An engine's source as the properties want it, without a process or a record: planted bugs are tried fast."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

from hypothesis import strategies as st

from minillm import reference
from minillm.verification.comparison import TOLERANCE, relative_difference
from minillm.verification.edited_cache import appended, edited_logits
from minillm.verification.models import configs, random_weights

SOURCE = Path(__file__).with_name("complete_engine.py").read_text()
FLOAT16 = 'DTYPE = "float64"', 'DTYPE = "float16"'


def planted(right, wrong):
    """The source with one wrong line."""
    if SOURCE.count(right) != 1:
        raise LookupError(right)  # not an AssertionError: that would count as found
    return SOURCE.replace(right, wrong)


class DirectEngine:
    def __init__(self, config, source=SOURCE, tolerance=TOLERANCE):
        module = loaded(source)
        self.engine = module.make_engine(config, dict(random_weights(config)))
        self.config, self.vocab_size, self.tolerance = config, config.vocab_size, tolerance
        self.options = module.OPTIONS
        self.sizes = [size for size in {module.PAGE, *config.sliding_windows} if size]
        self.ties, self.largest = [], 0.0

    def has(self, name):
        return name == "naive" or callable(getattr(self.engine, name, None))

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def naive(self, tokens):
        return naive_logits(self.config, tuple(tokens))

    def edited(self, cached):
        return edited_logits(self.config, random_weights(self.config), cached)

    def new_cache(self, capacity):
        return self.engine.new_cache()

    def prefill(self, tokens, cache, chunk=None):
        for first in range(0, len(tokens), chunk or len(tokens)):
            logits = self.engine.prefill(tokens[first : first + (chunk or len(tokens))], cache)
        return logits

    def assert_same(self, found, expected):
        difference = relative_difference(found, expected).max()
        assert difference <= self.tolerance, f"off by {difference}"
        self.add_difference(difference)

    def assert_length(self, cache, length):
        pass

    def fail(self, message):
        raise AssertionError(message)

    def add_difference(self, relative):
        self.largest = max(self.largest, relative)

    def add_tie(self, message):
        self.ties.append(message)

    def add_end(self, ended):
        pass


def direct_engines(source=SOURCE, tolerance=TOLERANCE):
    """A strategy for engines with a random model, new for each example."""
    features = loaded(source).FEATURES
    return st.sampled_from(configs(features)).map(lambda config: DirectEngine(config, source, tolerance))


@cache
def loaded(source):
    names = {"__name__": "engine"}
    exec(compile(source, "engine.py", "exec"), names)
    return SimpleNamespace(**names)


@cache
def naive_logits(config, tokens):
    if config.num_hidden_layers == 1:
        return edited_logits(config, random_weights(config), appended([], tokens))
    return reference.forward(config, random_weights(config), tokens)[-1]
