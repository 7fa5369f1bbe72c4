"""The lines of a batch."""

import pytest

from minillm import Sampling
from minillm.serving.batch_files.prompts import parse_line, read_lines

WARM = Sampling(temperature=0.5, seed=3)

BAD = {
    "no JSON": (b"hello", "not valid JSON"),
    "half": (b'{"prompt": "a"', "not valid JSON"),
    "no UTF-8": (b'{"prompt": "\xff"}', "expected text in UTF-8"),
    "a list": (b'["a"]', "expected an object such as"),
    "a text": (b'"a"', "expected an object such as"),
    "no prompt": (b"{}", 'expected one of "prompt" and "messages"'),
    "both": (b'{"prompt": "a", "messages": []}', 'expected one of "prompt" and "messages"'),
    "an empty prompt": (b'{"prompt": ""}', "prompt: expected a text"),
    "a number": (b'{"prompt": 3}', "prompt: expected a text"),
    "no messages": (b'{"messages": []}', "messages: expected a list of at least one"),
    "messages of another form": (b'{"messages": ["a"]}', "messages: expected role and content"),
    "a misspelt name": (b'{"prompt": "a", "max_tokens": 3}', "unknown name 'max_tokens'; expected some of prompt"),
    "a name twice": (b'{"prompt": "a", "prompt": "b"}', "duplicate key"),
    "a wrong temperature": (b'{"prompt": "a", "temperature": -1}', "temperature is -1; expected a finite number"),
    "an endless temperature": (b'{"prompt": "a", "temperature": Infinity}', "temperature is inf; expected a finite"),
    "no new tokens": (b'{"prompt": "a", "max_new_tokens": 0}', "max_new_tokens is 0; expected an integer"),
    "half a token": (b'{"prompt": "a", "max_new_tokens": 1.5}', "max_new_tokens is 1.5; expected an integer"),
    "an empty stop": (b'{"prompt": "a", "stop": ""}', "none of them empty"),
    "an id that is a list": (b'{"prompt": "a", "id": []}', "id: expected a text or an integer"),
    "nested deep": (b"[" * 100_000, "nested too deeply"),
    "too long": (b'{"prompt": "a"' + b" " * 4_000_000 + b"}", "4000015 bytes; expected at most 4000000"),
}


@pytest.mark.parametrize(("line", "expected"), BAD.values(), ids=BAD)
def test_bad_lines(line, expected):
    with pytest.raises(ValueError) as caught:
        parse_line(1, line, None, WARM)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_line_says_holds_for_it():
    line = parse_line(4, b'{"prompt": "a", "id": "x", "max_new_tokens": 5, "seed": 9, "stop": ["."]}\r', 7, WARM)
    assert (line.number, line.id, line.prompt, line.max_new_tokens) == (4, "x", "a", 5)
    assert line.sampling == Sampling(temperature=0.5, seed=9, stop=["."])


def test_what_it_does_not_say_holds_for_the_batch():
    line = parse_line(4, b'{"messages": [{"role": "user", "content": "a"}]}', 7, WARM)
    assert (line.id, line.max_new_tokens, line.sampling) == (None, 7, WARM)
    assert line.prompt == [{"role": "user", "content": "a"}]


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    (tmp_path / "p").write_bytes(b"\xef\xbb\xbfa\r\n\n  \nb\n\nc")
    assert read_lines(str(tmp_path / "p")) == [(1, b"a\r"), (4, b"b"), (6, b"c")]


def test_no_more_lines_than_the_memory_can_take(tmp_path):
    (tmp_path / "p").write_bytes(b"\n" * 1_000_000 + b"a")
    assert read_lines(str(tmp_path / "p")) == [(1_000_001, b"a")]
    (tmp_path / "p").write_bytes(b"\n" * 1_000_001)
    with pytest.raises(ValueError, match="p: expected at most 1000000 lines, found more; split the input"):
        read_lines(str(tmp_path / "p"))


def test_a_device_is_no_file_of_prompts():
    with pytest.raises(OSError, match="expected an ordinary file"):
        read_lines("/dev/zero")
