"""What a file says of an engine: its functions and settings."""

from dataclasses import dataclass, field
from typing import Any

from minillm.support.printable import one_line
from minillm.verification.comparison import ROUNDOFF, TOLERANCE, tolerance_of

CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Adapter:
    """The functions and settings of one engine.

    Attributes:
        name: the name of the engine.
        made: whether `make_engine(config, weights)` makes it.
        functions: the functions that it has.
        listed: whether `engines()` yields it.
        vocab_size: VOCAB_SIZE, or 0 if the model defines it.
        tolerance: TOLERANCE, or that of DTYPE, relative to the largest logit.
        to_itself: whether it is compared with itself and not with the reference.
        model: MODEL, the name of a model that minillm can load.
        options: OPTIONS, the values of each option of `generate`. The first one is the plainest.
        window, page: WINDOW and PAGE, sizes around which lengths are drawn.
        features: FEATURES, the architectures beyond plain Llamas that make_engine understands.
        call_seconds: CALL_SECONDS. An engine that takes longer for one call hangs.
    """

    name: str
    made: bool
    functions: tuple[str, ...]
    listed: bool = False
    vocab_size: int = 0
    tolerance: float = TOLERANCE
    to_itself: bool = False
    model: str | None = None
    options: dict[str, list[Any]] = field(default_factory=dict)
    window: int | None = None
    page: int | None = None
    features: tuple[str, ...] = ()
    call_seconds: float = CALL_SECONDS

    def has(self, name: str) -> bool:
        """Return whether the engine has the function. It has "naive" if the expected logits are known."""
        if name == "naive":
            return not self.to_itself or "prefill" in self.functions
        return name in self.functions


def read_adapter(described: dict[str, Any], file: object) -> Adapter:
    """Return what a session says of one engine, checked.

    Raises:
        ValueError: if a setting is wrong, or a required function is missing.
    """
    made, functions, settings = described["made"], tuple(described["functions"]), described["settings"]
    for key, value in settings.items():
        if key in EXPECTED and not EXPECTED[key][0](value):
            raise ValueError(f"{file}: {key} is {one_line(repr(value))}; expected {EXPECTED[key][1]}")
    if not made and not (_is_size(settings.get("VOCAB_SIZE")) or "MODEL" in settings):
        raise ValueError(f"{file}: expected make_engine(config, weights), or the functions and a VOCAB_SIZE")
    missing = [name for name in REQUIRED if name not in functions]
    if missing and not {"generate", "sample"} & set(functions):
        raise ValueError(f"{file}: {missing[0]} is missing; expected new_cache and prefill, or make_engine")
    named = {field: settings[key] for key, field in FIELDS.items() if key in settings}
    if "DTYPE" in settings:
        named.setdefault("tolerance", tolerance_of(settings["DTYPE"]))
    to_itself = settings.get("REFERENCE") == "self" or (not made and _is_size(settings.get("VOCAB_SIZE")))
    return Adapter(described["name"], made, functions, described["listed"], to_itself=to_itself, **named)


REQUIRED = ("new_cache", "prefill")
FIELDS = {
    "VOCAB_SIZE": "vocab_size", "TOLERANCE": "tolerance", "MODEL": "model", "OPTIONS": "options", "WINDOW": "window",
    "PAGE": "page", "FEATURES": "features", "CALL_SECONDS": "call_seconds",
}  # fmt: skip


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")


def _is_options(value: Any) -> bool:
    return type(value) is dict and all(type(values) in (list, tuple) and values for values in value.values())


def _is_texts(value: Any) -> bool:
    return type(value) in (list, tuple) and all(type(text) is str for text in value)


EXPECTED = {
    "DTYPE": (ROUNDOFF.__contains__, f"one of {', '.join(ROUNDOFF)}"),
    "TOLERANCE": (_is_positive, "a number above 0"),
    "REFERENCE": (lambda value: value in (None, "self"), "'self', or no REFERENCE"),
    "OPTIONS": (_is_options, "a dict with a list of values for each option"),
    "WINDOW": (_is_size, "a number of tokens"),
    "PAGE": (_is_size, "a number of tokens"),
    "FEATURES": (_is_texts, "a tuple of names"),
    "CALL_SECONDS": (_is_positive, "a number above 0"),
}
