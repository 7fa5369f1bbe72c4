"""Fields: typed reads of fields from untrusted JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import repr as short  # short for values of any size and depth
from typing import Any


@dataclass
class Fields:
    """Reads fields of untrusted JSON. Each read returns a checked value or raises a ValueError that names the field."""

    values: Mapping[str, Any]
    source: str
    used: set[str] = field(default_factory=set)

    def wrong(self, name: str, expected: str) -> ValueError:
        """Return the error for this field."""
        return ValueError(f"{self.source}: {name} is {short(self.values.get(name))}; expected {expected}")

    def get(self, name: str, default: Any = None) -> Any:
        """Return the raw value, and record the field as known."""
        self.used.add(name)
        return self.values.get(name, default)

    def integer(self, name: str, default: int | None = None, low: int = 1, high: int = 2**20) -> int:
        """Return an integer from `low` to `high`. null means the default."""
        value = self.get(name, default)
        value = default if value is None else value
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, default: float | None = None, low: float = 0.0) -> float:
        """Return a number above `low`, from 1e-30 to 1e30, so that a few multiplied or divided stay finite."""
        value = self.get(name, default)
        if type(value) not in (int, float) or not max(low, 1e-30) < value < 1e30:  # false for NaN too
            raise self.wrong(name, f"a finite number above {low:g}, neither tiny nor huge (1e-30 to 1e30)")
        return float(value)

    def boolean(self, name: str) -> bool:
        """Return true or false, which is the default."""
        value = self.get(name, False)
        if type(value) is not bool:
            raise self.wrong(name, "true or false")
        return value

    def token_ids(self, name: str, vocab_size: int) -> tuple[int, ...]:
        """Return the token ids: the field may be null, one id or a list of ids."""
        value = self.get(name)
        ids = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(i) is int and 0 <= i < vocab_size for i in ids):
            raise self.wrong(name, f"a token id below vocab_size {vocab_size}, or a list of them")
        return tuple(ids)
