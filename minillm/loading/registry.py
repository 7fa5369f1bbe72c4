"""The models that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minillm.loading.cache_folder import cache_folder
from minillm.loading.checkpoint import Checkpoint


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

    def open(self) -> Checkpoint:
        """Its checkpoint, fetched if need be.

        Raises:
            OSError: it could not be fetched; the message says what to do.
            ValueError: the folder is damaged.
        """
        place = self.fetch()
        from minillm.loading.folder import read_folder

        try:
            return read_folder(place, self.name)
        except (ValueError, OSError) as problem:
            raise ValueError(f"{problem}; remove the damaged folder {place} and it is fetched again") from None


def _smollm2(destination: Path) -> None:
    from minillm.loading.smollm2 import fetch_smollm2

    fetch_smollm2(destination)


REGISTRY = {
    "smollm2": RegisteredModel(
        "smollm2", "SmolLM2-135M-Instruct, a small chat model", 134_515_008, "Apache-2.0", _smollm2
    ),
}
