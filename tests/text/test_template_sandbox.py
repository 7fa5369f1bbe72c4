"""The process in which templates are rendered: one for all, replaced if it ends, and ended with its parent."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
import markupsafe
import pytest

from minillm.text import child_process, template_sandbox
from minillm.text.child_process import SCRIPT
from minillm.text.template_sandbox import PROGRAM, TemplateSandbox

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TESTS = str(Path(__file__).parents[1])


@pytest.fixture
def sandbox():
    sandbox = TemplateSandbox()
    yield sandbox
    sandbox.close()


def process_id(sandbox) -> int:
    assert sandbox.render("{{ x }}!", {"x": "Hi"}) == "Hi!"
    return sandbox._process.pid


def test_one_process_serves_all_renderings_and_errors(sandbox):
    first = process_id(sandbox)
    for template in ("{{ raise_exception('no') }}", "{% if %}", "{{ 'x' * 2000001 }}"):
        with pytest.raises(ValueError):
            sandbox.render(template, {})
        assert process_id(sandbox) == first


def test_a_process_that_was_ended_is_replaced(sandbox, monkeypatch):
    monkeypatch.setattr(template_sandbox, "CPU_SECONDS", 1)
    first = process_id(sandbox)
    with pytest.raises(ValueError, match="1 second of processor time"):
        sandbox.render(ENDLESS, {})
    assert process_id(sandbox) != first


def test_a_process_that_lacked_memory_is_replaced(sandbox):
    first = process_id(sandbox)
    with pytest.raises(ValueError, match="needs more than 512 MB of memory"):
        sandbox.render("{{ 'x' * 10**10 }}", {})
    assert process_id(sandbox) != first


def test_a_process_that_something_else_killed_is_replaced(sandbox):
    first = process_id(sandbox)
    sandbox._process.kill()
    sandbox._process.wait()
    assert process_id(sandbox) != first


def test_waiting_has_a_limit_too(sandbox, monkeypatch):
    process_id(sandbox)
    monkeypatch.setattr(child_process, "WALL_PER_CPU_SECOND", 0.05)
    with pytest.raises(ValueError, match=r"^it takes more than 0\.1 seconds"):
        sandbox.render(ENDLESS, {})


def test_an_answer_that_is_too_long_is_not_read(sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_longest_answer", 1000)
    with pytest.raises(ValueError, match="its answer has more than 1000 bytes"):
        sandbox.render("{{ 'x' * 100000 }}", {})


def test_two_million_emoji_come_back(sandbox):
    assert sandbox.render("{{ x * 2000000 }}", {"x": "😀"}) == "😀" * 2_000_000


@pytest.mark.parametrize("text", ["\ud800", "\0", "\n\r\u2028", "é漢😀"], ids=ascii)
def test_any_text_goes_both_ways(sandbox, text):
    assert sandbox.render("{{ x }}", {"x": text}) == text


def test_threads_get_their_own_answers(sandbox):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda x: sandbox.render("{{ x }}", {"x": x}), range(400)))
    assert answers == [str(x) for x in range(400)]


def test_an_interrupted_rendering_is_not_the_answer_to_the_next(sandbox):
    def interrupt(*_):
        raise KeyboardInterrupt

    process_id(sandbox)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            sandbox.render(ENDLESS, {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    process_id(sandbox)


def test_ctrl_c_in_a_terminal_is_not_for_the_process(sandbox):
    assert os.getpgid(process_id(sandbox)) != os.getpgrp()


def test_the_process_ends_with_its_input():
    """Also when the parent is killed: the system closes what the parent had open."""
    folders = {str(Path(module.__file__).parents[1]) for module in (jinja2, markupsafe)}
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(PROGRAM), *folders]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        request = {"template": "{{ x }}", "variables": {"x": 1}, "characters": 9}
        process.stdin.write(json.dumps(request | {"cpu_seconds": 9, "memory_bytes": 10**9}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"text": "1"}
        process.stdin.close()
        assert process.wait(20) == 0


AFTER_A_FORK = """
import os, threading
from minillm.text.template_sandbox import SANDBOX
render = lambda: SANDBOX.render("{{ x }}", {"x": os.getpid()}) == str(os.getpid())
assert render()
busy = threading.Event()
def work():
    while not busy.is_set():
        assert render()
thread = threading.Thread(target=work)
thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        os._exit(0 if render() and render() else 1)
    assert os.waitpid(child, 0)[1] == 0
busy.set()
thread.join()
assert render()
"""


def run(code, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(TESTS).parent), TESTS])}
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, timeout=120, **options)


def test_after_a_fork_each_side_has_its_own_process():
    """The fork can happen while another thread renders."""
    assert run(AFTER_A_FORK).returncode == 0


WITHOUT_STREAMS = """
import os, sys
for stream in {closed}:
    os.close(stream)
from tiny_tokenizer import tiny_tokenizer
from minillm.text.template_sandbox import SANDBOX
tokenizer = tiny_tokenizer()
for _ in range(2):
    text = tokenizer.decode(tokenizer.apply_chat_template([{{"role": "user", "content": "Hello"}}]))
    assert text == "<|im_start|>user\\nHello<|im_end|>\\n<|im_start|>assistant\\n"
assert "jinja2" not in sys.modules  # this process runs nothing of a template
assert SANDBOX._channel.fileno() > 2
os._exit(7)  # without flushing the closed streams
"""


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1, 2)])
def test_closed_standard_streams_change_nothing(closed):
    assert run(WITHOUT_STREAMS.format(closed=closed)).returncode == 7
