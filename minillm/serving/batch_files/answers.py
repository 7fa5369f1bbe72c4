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

from minillm.support.checks import check_integer
from minillm.support.files import parse_json

BEGINNING = b'{"line": '
LONGEST = 20_000_000  # bytes of a line: the longest prompt, each character as an escape, and its answer
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
            self.answered: dict[int, Asked] = {}
            end = self._read_answers()
            self._file.truncate(end)
            self._file.seek(end)
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
        try:
            self._file.close()
        except OSError:
            if problem is None:
                raise  # otherwise an answer could not be written, which is told already

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
            OSError: there is no room, say. What was written of it is cut off when the file is opened again.
        """
        try:
            self._file.write(json.dumps(answer, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as problem:
            raise OSError(f"{self.path}: {problem.strerror}; when there is room, the same command goes on") from None

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.path}: another minillm batch is writing to it") from None

    def _read_answers(self) -> int:
        """Learn what is answered; returns where the last whole answer ends."""
        number = end = 0
        while line := self._file.readline(LONGEST + 1):
            number += 1
            if not line.endswith(b"\n"):
                self._check_torn(number, line)
                break
            answered, asked = self._parse(number, line)
            self.answered[answered] = asked
            end += len(line)
        return end

    def _check_torn(self, number: int, line: bytes) -> None:
        if len(line) > LONGEST or not (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
            raise self._no_answer(number)
        try:
            parse_json(line)
        except ValueError:
            return  # torn indeed
        self._parse(number, line)

    def _parse(self, number: int, line: bytes) -> tuple[int, Asked]:
        try:
            answer = parse_json(line)
            return check_integer("line", answer["line"], 1), (answer["request"], answer["model"], answer["prompt"])
        except (ValueError, TypeError, KeyError):
            raise self._no_answer(number) from None

    def _no_answer(self, number: int) -> ValueError:
        return ValueError(f"{self.path} line {number}: expected an answer of minillm batch; pass another --out")
