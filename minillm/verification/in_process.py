"""The transport within this process: for fast engines and tests. A crash of the engine ends this process, too."""

from pathlib import Path
from typing import Any

from minillm.verification.session import Session


class InProcess:
    """Asks a session in this process.

    Attributes:
        described: what the session says of its engines.
    """

    def __init__(self, file: Path) -> None:
        """Load the file.

        Raises:
            ValueError: if it does not load.
        """
        self._session = Session(file)
        self.described = self._session.described

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the session's answer. There is no time limit."""
        return self._session.answer(request)

    def refresh(self) -> None:
        """Do nothing: an engine that crashes ends this process, too."""

    def renew(self) -> None:
        """Do nothing: the engine stays in this process."""

    def close(self) -> None:
        """Remove the file from the modules of this process, and its folder from the import path."""
        self._session.close()
