"""The registry: the models that can be loaded by a short name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minillm.loading.checkpoint import Checkpoint
from minillm.support.cache_folder import cache_folder
from minillm.support.shipped import shipped


@dataclass(frozen=True)
class RegisteredModel:
    """One model of the registry.

    Attributes:
        make: downloads the model into a folder of the user's cache; None for a model that ships with minillm.
        in_table: its name in the table of estimates, for estimates before the download.
    """

    name: str
    description: str
    parameters: int
    license: str
    make: Callable[[Path], None] | None = None
    in_table: str | None = None

    @property
    def place(self) -> Path:
        """Return the path of the model's folder, whether it exists or not."""
        return shipped("weights") / self.name if self.make is None else cache_folder() / "models" / self.name

    def folder(self) -> Path | None:
        """Return the model's folder, or None if it does not exist."""
        return self.place if self.place.is_dir() else None

    def fetch(self) -> Path:
        """Return the model's folder, downloaded if necessary.

        Raises:
            OSError: the download failed; the message says what to do.
        """
        if not self.place.is_dir():
            if self.make is None:
                raise FileNotFoundError(f"{self.place}: missing, but minillm should include it; reinstall minillm")
            self.make(self.place)
        return self.place

    def open(self) -> Checkpoint:
        """Open the model's checkpoint, downloaded if necessary.

        Raises:
            OSError: the download failed; the message says what to do.
            ValueError: the folder is damaged.
        """
        place = self.fetch()
        from minillm.loading.folder import read_folder
        from minillm.text.child_process import NoProcess

        try:
            return read_folder(place, self.name)
        except NoProcess:  # the folder is not the reason
            raise
        except (ValueError, OSError) as problem:
            repair = "reinstall minillm" if self.make is None else "remove it, and it will be downloaded again"
            raise ValueError(f"{problem}; the folder {place} is damaged: {repair}") from None


def _smollm2(destination: Path) -> None:
    from minillm.loading.smollm2 import fetch_smollm2

    fetch_smollm2(destination)


REGISTRY = {
    "story": RegisteredModel("story", "short stories, capitals, sums and patterns; the default", 2_755_008, "MIT"),
    "story-draft": RegisteredModel("story-draft", "a draft for story, distilled from it", 229_696, "MIT"),
    "smollm2": RegisteredModel(
        "smollm2", "SmolLM2-135M-Instruct, a small chat model", 134_515_008, "Apache-2.0", _smollm2, "smollm2-135m"
    ),
}
