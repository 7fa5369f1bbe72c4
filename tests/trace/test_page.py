"""The page of a trace: one file without a network, in which texts of strangers are data."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import minillm
from minillm.classroom.player.lessons import find_lesson
from minillm.trace import page as page_module
from minillm.trace.page import page
from minillm.trace.reader import load

HERE = Path(__file__).parent
GOLDEN = sorted(HERE.glob("golden_*.jsonl"))
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&amp;\"'",
    "\u202eevil",
    "\x00",
    "\ud800",
    "\u2028",
    "</SCRIPT >",
]


@pytest.fixture(params=GOLDEN, ids=lambda file: file.stem)
def golden(request):
    return load(request.param)


def island(text):
    """The JSON of a page, and the page without it."""
    [found] = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', text, re.DOTALL)
    return json.loads(found), text.replace(found, "")


def test_the_page_has_the_trace(golden):
    content, _ = island(page(golden))
    assert content["header"] == golden.header
    assert content["lines"] == golden.lines
    assert len(content["sentences"]) == len(golden.states.steps)


def test_nothing_in_it_is_an_address(golden):
    text = page(golden).replace("http://www.w3.org/2000/svg", "")  # a name, which browsers do not fetch
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc=|\bhref=|url\(|@import|fetch\(|XMLHttpRequest|WebSocket", text)


def test_the_lessons_that_a_view_names_exist():
    views = sorted((HERE.parents[1] / "minillm" / "trace" / "page" / "views").glob("*.js"))
    for file in views:
        [names] = re.findall(r"lessons: (\[.*\]),", file.read_text(encoding="utf-8"))
        assert [find_lesson(topic).topic for topic in json.loads(names)] == json.loads(names) != []
    assert len(views) == 8


def test_scripts_do_not_turn_texts_into_elements():
    for file in (HERE.parents[1] / "minillm" / "trace" / "page").rglob("*.js"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|srcdoc", text), file


def test_the_policy_allows_this_style_and_this_script_only(golden):
    text = page(golden)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    _, rest = island(text)
    [style], [_, script] = (
        re.findall(r"<style>(.*?)</style>", rest, re.DOTALL),
        re.findall(r"<script[^>]*>(.*?)</script>", rest, re.DOTALL),
    )
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def hostile_trace(path):
    """The trace of a short run in which texts and names are what could end a script or an attribute."""
    header, *lines = map(json.loads, GOLDEN[1].read_text(encoding="ascii").splitlines())
    for line in lines:
        if line["t"] == "tokens":
            line["texts"] = [[token, HOSTILE[token % len(HOSTILE)]] for token, _ in line["texts"]]
        if line["t"] in ("choice", "model"):
            line["text" if line["t"] == "choice" else "name"] = HOSTILE[0]
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)), encoding="ascii")
    return load(path)


def test_hostile_texts_are_data(tmp_path):
    trace = hostile_trace(tmp_path / "hostile.jsonl")
    text = page(trace)
    content, rest = island(text)
    assert content["lines"] == trace.lines
    assert text.encode()  # a lone surrogate is not in the page as it is
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 2
    assert "<title>A run of &lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>" in rest


def test_a_run_that_was_interrupted_at_once_has_a_page(tmp_path):
    file = tmp_path / "empty.jsonl"
    file.write_text(GOLDEN[0].read_text(encoding="ascii").split("\n")[0] + "\n", encoding="ascii")
    assert "<title>A run of an unknown model</title>" in page(load(file))


@pytest.mark.parametrize(
    ("name", "advice"), [("golden_generate", "fewer layers"), ("golden_speculative", "fewer tokens")]
)
def test_a_large_page_is_refused_with_what_to_leave_out(name, advice, monkeypatch):
    monkeypatch.setattr(page_module, "LARGEST_PAGE", 20_000)
    trace = load(HERE / f"{name}.jsonl")
    lines = [line for line in trace.lines if line["t"] == "attention"] * 4
    trace.lines.extend(lines)
    with pytest.raises(ValueError, match=rf"the page would have \d+\.\d MB, and 2 MB are the most; record {advice}"):
        page(trace)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(golden):
    shown = minillm.trace.show(golden, height=500)
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" [^<>]*></iframe>', shown._repr_html_())
    assert html.unescape(frame[1]) == page(golden)
    assert minillm.trace.show(GOLDEN[0]).page == page(load(GOLDEN[0]))


@pytest.fixture
def node():
    """A function that runs node, and asserts that it succeeds."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")

    def run(*arguments):
        done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return run


def test_the_script_of_the_page_is_javascript(tmp_path, node):
    _, rest = island(page(load(GOLDEN[1])))
    [_, script] = re.findall(r"<script[^>]*>(.*?)</script>", rest, re.DOTALL)
    (tmp_path / "page.js").write_text(script, encoding="utf-8")
    node("--check", tmp_path / "page.js")


@pytest.mark.parametrize("script", [file.name for file in sorted(HERE.glob("*.test.js"))])
def test_the_scripts_pass_their_own_tests(script, node):
    node(HERE / script)


def test_a_trace_writes_its_page(tmp_path):
    trace = load(GOLDEN[0])
    trace.html(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == page(trace)
