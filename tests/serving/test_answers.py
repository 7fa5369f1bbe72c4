"""AnswerFile: what a killed run leaves is resumed, whatever the moment; anything else is refused and left alone."""

import json
import resource
import signal

import pytest

from minillm.serving.batch_files.answers import BEGINNING, AnswerFile

ANSWERS = [
    {"line": n, "request": f"r{n}", "model": "m", "prompt": f"p\n{n}", "text": "é\u2028\x85"} for n in (3, 1, 12)
]
ASKED = {answer["line"]: (answer["request"], "m", answer["prompt"]) for answer in ANSWERS}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


@pytest.fixture
def written(path):
    """The bytes of a whole file."""
    with AnswerFile(path) as file:
        for answer in ANSWERS:
            file.append(answer)
    return path.read_bytes()


def test_each_answer_is_a_line_and_is_found_again(path, written):
    assert [json.loads(line) for line in written.decode().split("\n")[:-1]] == ANSWERS
    with AnswerFile(path) as file:
        assert file.answered == ASKED
        file.check_asked(ASKED)


def test_an_answer_is_there_at_once(path):
    with AnswerFile(path) as file:
        file.append(ANSWERS[0])
        assert json.loads(path.read_bytes()) == ANSWERS[0]


def test_a_file_cut_at_any_byte_keeps_its_whole_lines(path, written):
    for cut in range(len(written) + 1):
        path.write_bytes(written[:cut])
        whole = written[:cut].count(b"\n")
        with AnswerFile(path) as file:
            assert list(file.answered) == [answer["line"] for answer in ANSWERS[:whole]]
            assert path.read_bytes() == b"".join(written.splitlines(keepends=True)[:whole])
            for answer in ANSWERS[whole:]:
                file.append(answer)
        assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"hello", 1), (b"hello\n", 1), (b"{}\n", 1), (b"[1]\n", 1), (b"\x00\xff\n", 1), (b"\n", 1),
        (b'{"line": 1, "request": "r", "model": "m"}\n', 1),
        (b'{"line": "x", "request": 1, "model": 1, "prompt": 1}\n', 1),
        (b'{"line": 1, "request": "r", "model": "m", "prompt": "p"}\n\n', 2),
        (b'{"line": 1, "request": "r", "model": "m", "prompt": "p"}\nnotes', 2),
        (b"[" * 100_000 + b"\n", 1),
        (b'{"line": Infinity, "request": "r", "model": "m", "prompt": "p"}\n', 1),
        (b'{"line": 1, "somebody": "else, who ends no line"}', 1),
        (b'{"line": 1.5, "request": "r", "model": "m", "prompt": "p"}\n', 1),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused_and_left_alone(path, data, line):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"answers.jsonl line {line}: expected an answer of minillm batch"):
        AnswerFile(path)
    assert path.read_bytes() == data


def test_of_a_line_without_end_only_a_part_is_read(path):
    with path.open("wb") as file:
        file.write(BEGINNING)
        file.truncate(10**12)  # a terabyte of zeros, which take no room
    with pytest.raises(ValueError, match=r"answers.jsonl line 1: expected an answer"):
        AnswerFile(path)
    assert path.stat().st_size == 10**12


def test_a_full_disk_is_told_with_the_name_of_the_file(path):
    """The answer before is whole, what was begun is cut off, and the next run goes on."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match=r"answers.jsonl: File too large; .* run the same command again"):
            with AnswerFile(path) as file:
                file.append(ANSWERS[0])
                resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limit[1]))
                file.append(ANSWERS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes().endswith(b'\n{"lin')
    with AnswerFile(path) as file:
        assert list(file.answered) == [3]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({3: ASKED[3], 1: ASKED[1]}, "answers line 12, where no prompt is now"),
        (ASKED | {1: ("other", "n", "p\n1")}, "answers line 1 for another model"),
        (ASKED | {1: ("other", "m", "p")}, "answers line 1 for another prompt"),
        (ASKED | {1: ("other", "m", "p\n1")}, "answers line 1 for another version or setting"),
    ],
)
def test_answers_to_something_else_are_refused(path, written, asked, expected):
    with AnswerFile(path) as file, pytest.raises(ValueError, match=expected):
        file.check_asked(asked)
    assert path.read_bytes() == written


def test_one_writer_at_a_time(path):
    with AnswerFile(path), pytest.raises(ValueError, match="another minillm batch is writing to it"):
        AnswerFile(path)
    AnswerFile(path).__exit__(None, None, None)


def test_a_folder_or_a_device_is_refused(tmp_path):
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="expected an ordinary file"):
            AnswerFile(type(tmp_path)(place))


def test_answers_are_put_in_the_order_of_the_prompts(path, written):
    path.chmod(0o640)
    with AnswerFile(path) as file:  # one found in the file, and one appended
        file.append(ANSWERS[0] | {"line": 2})
        file.put_in_order()
    assert [json.loads(line)["line"] for line in path.read_bytes().splitlines()] == [1, 2, 3, 12]
    assert set(written.splitlines()) < set(path.read_bytes().splitlines())
    assert path.stat().st_mode & 0o777 == 0o640 and list(path.parent.iterdir()) == [path]
    inode = path.stat().st_ino
    with AnswerFile(path) as file:
        file.put_in_order()
    assert path.stat().st_ino == inode  # they are in order already


def test_a_disk_without_room_for_a_copy_leaves_the_file_as_it_was(path, written):
    with AnswerFile(path) as file:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(written) - 1, before[1]))
        try:
            with pytest.raises(OSError, match=r"answers\.jsonl: File too large; free some space"):
                file.put_in_order()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == written and list(path.parent.iterdir()) == [path]
