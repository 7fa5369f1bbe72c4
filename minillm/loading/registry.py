"""The models that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minillm.loading.cache_folder import cache_folder


@dataclass(frozen=True)
class RegisteredModel:
    """One model: what it is, and how its folder comes to be."""

    name: str
    description: str
    parameters: int
    license: str
    make: Callable[[Path], None]

    def folder(self) -> Path | None:
        """Where it lies, or None if it has not been fetched."""
        place = cache_folder() / "models" / self.name
        return place if place.is_dir() else None

    def fetch(self) -> Path:
        """Its folder, fetched if need be.

        Raises:
            OSError: it could not be fetched; the message says what to do.
        """
        place = cache_folder() / "models" / self.name
        if not place.is_dir():
            self.make(place)
        return place


def _smollm2(destination: Path) -> None:
    from minillm.loading.smollm2 import fetch_smollm2

    fetch_smollm2(destination)


REGISTRY = {
    "smollm2": RegisteredModel(
        "smollm2", "SmolLM2-135M-Instruct, a small chat model", 134_515_008, "Apache-2.0", _smollm2
    ),
}
