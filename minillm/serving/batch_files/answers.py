"""AnswerFile: one JSON object per line, written as soon as an answer is complete, so that a killed run can be resumed.

Every answer carries the number of its prompt's line and a fingerprint of what was asked: the model, the prompt and
all settings. Opening the file again tells which lines are answered. If the last line has no line end, the run was
killed while writing it: that answer is cut off and generated again. Answers are appended in the order in which they are
finished. When all are there, they are put in the order of the prompts, so that the file does not depend on the
schedule, on interruptions or on the number of processes. A file that holds anything other than answers is refused.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from minillm.support.checks import check_integer
from minillm.support.files import parse_json

BEGINNING = b'{"line": '
LONGEST = 20_000_000  # bytes of a line: the longest prompt, every character escaped, and its answer
Asked = tuple[Any, Any, Any]  # the fingerprint of a request, the name of its model, its prompt


class AnswerFile:
    """An open file of answers; use it in a `with` statement.

    Attributes:
        path: of the file.
        answered: for the number of each answered line, what was asked.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; an incomplete last line is cut off.

        Raises:
            ValueError: the file holds something other than answers, or another process is writing to it.
            OSError: the file cannot be read or written.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise OSError(f"{path}: expected an ordinary file, found a folder, a pipe or a device")
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            self._lock()
            self.answered: dict[int, Asked] = {}
            self._places: dict[int, tuple[int, int]] = {}  # of each answer in the file: its first byte, and its end
            end = self._read_answers()
            self._file.truncate(end)
            self._file.seek(end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "AnswerFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError:
            if problem is None:
                raise  # otherwise the exception already reports that an answer could not be written

    def check_asked(self, asked: Mapping[int, Asked]) -> None:
        """Raise ValueError if some answer in the file does not belong to what is asked now."""
        for number, (request, model, prompt) in self.answered.items():
            if number not in asked:
                raise ValueError(f"{self.path} answers line {number}, where no prompt is now; pass another --out")
            now, its_model, its_prompt = asked[number]
            if now != request:
                other = "model" if model != its_model else "prompt" if prompt != its_prompt else "version or setting"
                raise ValueError(f"{self.path} answers line {number} for another {other}; pass another --out")

    def append(self, answer: dict[str, Any]) -> None:
        """Write one answer, whose first key is `line`, and flush it to the system.

        Raises:
            OSError: the disk is full, for example. An incomplete line is cut off when the file is opened again.
        """
        begin, line = self._file.tell(), json.dumps(answer, allow_nan=False).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as problem:
            raise self._full(problem) from None
        self._places[answer["line"]] = begin, begin + len(line)

    def put_in_order(self) -> None:
        """Put the answers in the order of the prompts: write a new file, which then takes the place of this one.

        If it is killed meanwhile, this file is as it was. Nothing can be appended afterwards.

        Raises:
            OSError: the disk is full, for example; the file is as it was.
        """
        places = [self._places[number] for number in sorted(self._places)]
        if all(one < later for one, later in pairwise(places)):
            return
        file = Path(os.path.realpath(self.path))
        ordered = file.with_name(f".{file.name}.ordered")
        try:
            with ordered.open("wb") as new:
                for begin, end in places:
                    self._file.seek(begin)
                    new.write(self._file.read(end - begin))
                new.flush()
                os.fsync(new.fileno())
            shutil.copymode(file, ordered)
            ordered.replace(file)
        except OSError as problem:
            ordered.unlink(missing_ok=True)
            raise self._full(problem) from None

    def _full(self, problem: OSError) -> OSError:
        return OSError(f"{self.path}: {problem.strerror}; free some space, run the same command again")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.path}: another minillm batch is writing to it") from None

    def _read_answers(self) -> int:
        """Read all answers; return the position where the last complete answer ends."""
        number = end = 0
        while line := self._file.readline(LONGEST + 1):
            number += 1
            if not line.endswith(b"\n"):
                self._check_torn(number, line)
                break
            answered, asked = self._parse(number, line)
            self.answered[answered] = asked
            self._places[answered] = end, end + len(line)
            end += len(line)
        return end

    def _check_torn(self, number: int, line: bytes) -> None:
        if len(line) > LONGEST or not (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
            raise self._no_answer(number)
        try:
            parse_json(line)
        except ValueError:
            return  # incomplete, as expected
        self._parse(number, line)

    def _parse(self, number: int, line: bytes) -> tuple[int, Asked]:
        try:
            answer = parse_json(line)
            return check_integer("line", answer["line"], 1), (answer["request"], answer["model"], answer["prompt"])
        except (ValueError, TypeError, KeyError):
            raise self._no_answer(number) from None

    def _no_answer(self, number: int) -> ValueError:
        return ValueError(f"{self.path} line {number}: expected an answer of minillm batch; pass another --out")
