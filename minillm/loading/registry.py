"""The models that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minillm.loading.checkpoint import Checkpoint
from minillm.support.cache_folder import cache_folder
from minillm.support.shipped import shipped


@dataclass(frozen=True)
class RegisteredModel:
    """One model: what it is, and how its folder comes to be.

    Attributes:
        make: fetches it into a folder of the user's cache; None for a model that ships with minillm.
    """

    name: str
    description: str
    parameters: int
    license: str
    make: Callable[[Path], None] | None = None

    @property
    def place(self) -> Path:
        """Where it lies, or would."""
        return shipped("weights") / self.name if self.make is None else cache_folder() / "models" / self.name

    def folder(self) -> Path | None:
        """Where it lies, or None if it is not there."""
        return self.place if self.place.is_dir() else None

    def fetch(self) -> Path:
        """Its folder, fetched if need be.

        Raises:
            OSError: it could not be fetched; the message says what to do.
        """
        if not self.place.is_dir():
            if self.make is None:
                raise FileNotFoundError(f"{self.place}: missing, though it ships with minillm; install minillm anew")
            self.make(self.place)
        return self.place

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
            mend = "install minillm anew" if self.make is None else "remove it and it is fetched again"
            raise ValueError(f"{problem}; the folder {place} is damaged: {mend}") from None


def _smollm2(destination: Path) -> None:
    from minillm.loading.smollm2 import fetch_smollm2

    fetch_smollm2(destination)


REGISTRY = {
    "story": RegisteredModel("story", "little stories, capitals, sums and patterns; the default", 2_755_008, "MIT"),
    "story-draft": RegisteredModel("story-draft", "a draft for story, distilled from it", 229_696, "MIT"),
    "smollm2": RegisteredModel(
        "smollm2", "SmolLM2-135M-Instruct, a small chat model", 134_515_008, "Apache-2.0", _smollm2
    ),
}
