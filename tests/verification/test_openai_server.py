"""The adapter for servers, on a tiny server that runs minillm: a right one passes, each planted bug is found."""

import threading
from contextlib import contextmanager
from pathlib import Path

import fake_server
import pytest
from hypothesis.errors import Flaky
from server_bugs import BUGS

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engine
from minillm.verification.properties import PROPERTIES

ADAPTER = Path(adapters.__path__[0], "openai_server.py")
SERVER = Path(fake_server.__file__).read_text()
PROPERTIES_OF_ANSWERS = ("options_change_no_answer", "an_engine_can_be_used_again", "a_stream_is_the_answer")
SAMPLE = [pytest.param(bug, marks=[] if n % 8 == 0 else pytest.mark.slow) for n, bug in enumerate(BUGS)]


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A function that starts a server with this source, and returns an engine for it with the adapter's source."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)
    monkeypatch.setenv("MINILLM_SERVER_VOCAB", "2048")

    @contextmanager
    def started(server_source, adapter_source):
        names = {"__name__": "fake_server"}
        exec(compile(server_source, "fake_server.py", "exec"), names)
        server = names["serve"]()
        server.handle_error = lambda *_: None  # a planted bug may raise
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MINILLM_SERVER", f"http://127.0.0.1:{server.server_port}/v1")
        (tmp_path / "engine.py").write_text(adapter_source)
        loaded = load_engine(tmp_path / "engine.py")
        try:
            yield loaded
        finally:
            loaded.close()
            server.shutdown()
            server.server_close()

    return started


@pytest.mark.parametrize("name", PROPERTIES_OF_ANSWERS)
@pytest.mark.parametrize("prompts", ["tokens", "text"])
def test_a_right_server_passes(engine, monkeypatch, name, prompts):
    monkeypatch.setenv("MINILLM_SERVER_PROMPTS", prompts)
    with engine(SERVER, ADAPTER.read_text()) as loaded:
        PROPERTIES[name].search(loaded.engines, examples=5)


@pytest.mark.parametrize("bug", SAMPLE)
def test_a_planted_bug_is_found(engine, bug):
    right, wrong, name = BUGS[bug]
    adapter = ADAPTER.read_text()
    assert SERVER.count(right) + adapter.count(right) == 1, right
    with (
        engine(SERVER.replace(right, wrong), adapter.replace(right, wrong)) as loaded,
        pytest.raises((AssertionError, Flaky)),
    ):
        PROPERTIES[name].search(loaded.engines, examples=100)


def test_there_are_thirty_bugs():
    assert len(BUGS) >= 30


def test_without_an_address_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("MINILLM_SERVER", raising=False)
    with pytest.raises(ValueError, match=r"MINILLM_SERVER is not set; expected an address such as http://"):
        load_engine(ADAPTER)
