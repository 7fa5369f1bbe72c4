"""AnswerFile: one JSON object a line, written as soon as an answer is whole, so that a killed run can be resumed.

Every answer carries the number of its prompt's line and a fingerprint of what was asked: the model, the prompt and
all settings. Whoever opens the file again learns which lines are answered. A line without its line end was being
written when the run was killed: that answer is cut off and made again. Nothing else of the file is ever changed, and
a file that holds anything else than answers is refused.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from minillm.loading.json_file import parse_json

BEGINNING = b'{"line": '
Asked = tuple[Any, Any, Any]  # the fingerprint of a request, the name of its model, its prompt


class AnswerFile:
    """An open file of answers; use it in a `with` statement.

    Attributes:
        path: its name.
        answered: the numbers of the lines that are answered, and what was asked there.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it; a torn last line is cut off.

        Raises:
            ValueError: it holds something else than answers, or another process is writing to it.
            OSError: it cannot be read or written.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise OSError(f"{path}: expected an ordinary file, found a folder, a pipe or a device")
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            self._lock()
            data = self._file.read()
            whole, torn = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
            self.answered = dict(self._parse(number, line) for number, line in enumerate(whole.splitlines(), start=1))
            if not torn.startswith(BEGINNING) and not BEGINNING.startswith(torn):
                raise self._no_answer(whole.count(b"\n") + 1)
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "AnswerFile":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close it."""
        self._file.close()

    def check_asked(self, asked: Mapping[int, Asked]) -> None:
        """Raise ValueError if an answer here is not one to what is asked now."""
        for number, (request, model, prompt) in self.answered.items():
            if number not in asked:
                raise ValueError(f"{self.path} answers line {number}, where no prompt is now; pass another --out")
            now, its_model, its_prompt = asked[number]
            if now != request:
                other = "model" if model != its_model else "prompt" if prompt != its_prompt else "version or setting"
                raise ValueError(f"{self.path} answers line {number} for another {other}; pass another --out")

    def append(self, answer: dict[str, Any]) -> None:
        """Write one answer, which begins with its `line`, and hand it to the system at once.

        Raises:
            OSError: there is no room, say.
        """
        self._file.write(json.dumps(answer, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.path}: another minillm batch is writing to it") from None

    def _parse(self, number: int, line: bytes) -> tuple[int, Asked]:
        try:
            answer = parse_json(line, "")
            return int(answer["line"]), (answer["request"], answer["model"], answer["prompt"])
        except (ValueError, TypeError, KeyError):
            raise self._no_answer(number) from None

    def _no_answer(self, number: int) -> ValueError:
        return ValueError(f"{self.path} line {number}: expected an answer of minillm batch; pass another --out")
