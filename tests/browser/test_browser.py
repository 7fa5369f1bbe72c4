"""The page in a real browser: runs of six kinds are stepped through, forward and back, with keys alone.

Playwright drives the Chromium of the system, so nothing is downloaded. Without one of the two these tests are skipped.
`nox -s browser` runs them.
"""

import json
import shutil
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pytest

import minillm
from minillm.bisection.compare import Question, compare
from minillm.bisection.page import difference_of, trace_of
from minillm.bisection.side import parse_side
from minillm.trace.page import page as page_of
from minillm.trace.reader import Trace, load

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
TRACES = Path(__file__).parents[1] / "trace"
GOLDEN = "golden_generate", "golden_engine", "golden_speculative"  # engine: a shared prefix, preemption, swap
RUNS = *GOLDEN, "stop_string", "lookup", "forked_samples", "compared"
SIDES = "prefill 3, guess 2, fork, decode 2, preempt, batch 2, block 2", "chunk 3, int8"
HOSTILE = "</script><img src=x onerror=alert(1)>", "\u202e", "\0", "\ud800", "<!--", "'\"><b onclick=alert(1)>"
KEYS = {"pass": "p", "cache": "c", "attention": "a", "choice": "h"}
# Elements with text of their own that begin or end outside the page. What scrolls inside its own frame may be wider.
OVERFLOWING = """() => [...document.querySelectorAll("main *")].filter((element) => {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!hasText || element.closest(".unseen, details:not([open]) > :not(summary)")) return false;
  for (let outer = element; outer; outer = outer.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(outer).overflowX)) return false;
  }
  const box = element.getBoundingClientRect();
  return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
}).map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`)"""
# Step to the end and back, and return what the view shows at each step, both ways. Attributes count: classes are
# colours and patterns.
THERE_AND_BACK = """(last) => {
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const shown = () => document.querySelector(".view-body").innerHTML;
  const walk = (key) => Array.from({ length: last }, () => (press(key), shown()));
  press("Home");
  const start = shown();
  return [[start, ...walk("ArrowRight")], [shown(), ...walk("ArrowLeft")].reverse()];
}"""
# For each step, what leaves the page.
OVERFLOWING_STEPS = """(last) => Array.from({ length: last + 1 }, (_, step) => {
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: step ? "ArrowRight" : "Home", bubbles: true }));
  const wide = document.documentElement.scrollWidth > innerWidth;
  return [...(OVERFLOWING)(), ...(wide ? [`the page, step ${step}`] : [])];
}).flat()""".replace("OVERFLOWING", OVERFLOWING)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """The traces of all runs, by name."""
    folder = tmp_path_factory.mktemp("traces")
    found = {name: load(TRACES / f"{name}.jsonl") for name in GOLDEN}
    for run in (stop_string, lookup, forked_samples):
        file = folder / f"{run.__name__}.jsonl"
        with minillm.trace.record(file):
            run(minillm.load("story"))
        found[run.__name__] = load(file)
    found |= {name: comparison.trace for name, comparison in comparisons().items()}
    return found | {"hostile": load(hostile_trace(folder / "hostile.jsonl"))}


class Comparison(NamedTuple):
    trace: Trace
    difference: dict


@cache
def comparisons():
    """Two schedules that differ, and what strangers may have named: a model, files, lines of source, tokens."""
    a, b = (parse_side(text, "exact") for text in SIDES)
    question = Question(a, b, "Once upon a time there", new_tokens=4)
    report = compare(question)
    compared = Comparison(trace := trace_of(question, report), difference_of(question, report, trace))
    strange = compared.difference | {"title": HOSTILE[0], "sides": {"a": HOSTILE[0], "b": "".join(HOSTILE[1:])}}
    about = [[name, sign + HOSTILE[0]] for (name, _), sign in zip(strange["first"]["about"], cycle(HOSTILE))]
    strange["first"] = strange["first"] | {"about": about}
    return {"compared": compared, "strange": Comparison(trace, strange)}


def stop_string(model):
    minillm.generate(model, "Once upon a time", 20, minillm.Sampling(stop=["little"]))


def lookup(model):
    drafter, seeded = minillm.PromptLookup(), minillm.Sampling(seed=1)
    minillm.speculative_generate(model, drafter, "The sky is blue. The sky is", 8, seeded, k=3)


def forked_samples(model):
    engine = minillm.Engine(model, block_size=4, num_blocks=24)
    engine.submit_samples("Once upon a time, there was a", 3, 5, minillm.Sampling(0.9, top_k=40, seed=5))
    engine.run()


@pytest.fixture(scope="module")
def files(traces, tmp_path_factory):
    """The pages of the traces."""
    folder = tmp_path_factory.mktemp("pages")
    for name, trace in traces.items():
        difference = comparisons()[name].difference if name in comparisons() else None
        (folder / f"{name}.html").write_text(page_of(trace, difference), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def contexts(browser):
    """A light and a dark context for all tests: they have nothing to remember."""
    return {scheme: browser.new_context(color_scheme=scheme) for scheme in ("light", "dark")}


def hostile_trace(path):
    """The golden speculative run, as if its vocabulary and its model's name were by somebody who attacks readers."""
    lines = list(map(json.loads, (TRACES / "golden_speculative.jsonl").read_text(encoding="ascii").splitlines()))
    for line in lines:
        if line["t"] == "tokens":
            line["texts"] = [[token, HOSTILE[token % len(HOSTILE)]] for token, _ in line["texts"]]
        if line["t"] == "model":
            line["name"] = HOSTILE[0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    return path


@pytest.fixture
def visit(contexts, files):
    """A function that opens the page of a run. After the test: no console error, and no request."""
    pages, problems = [], []

    def opened(name, hash_="", width=1200, scheme="light"):
        page = contexts[scheme].new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("console", lambda message: problems.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
        page.goto(f"file://{files / name}.html{hash_}")
        return page

    yield opened
    for page in pages:
        page.close()
    assert problems == []


def views_of(page):
    return page.eval_on_selector_all("[data-view]", "tabs => tabs.map((tab) => tab.dataset.view)")


def last_step(trace):
    return len(trace.states.steps) - 1


@pytest.mark.parametrize("name", RUNS)
def test_stepping_back_shows_what_stepping_forward_showed(visit, traces, name):
    page = visit(name)
    for view in views_of(page):
        page.click(f"[data-view={view}]")
        forward, back = page.evaluate(THERE_AND_BACK, last_step(traces[name]))
        assert back == forward, view
        assert all(forward), f"{view} is empty"
        assert len(set(forward)) > 1, f"{view} never changes"


@pytest.mark.parametrize("name", RUNS)
def test_a_reader_with_keys_alone_sees_the_text_of_the_run_grow(visit, traces, name):
    page, trace = visit(name), traces[name]
    tokens = lambda: page.eval_on_selector_all(  # noqa: E731
        ".token:not(.token-draft, .token-rejected, .token-unused) > small",
        "all => all.map((one) => Number(one.textContent))",
    )
    for step in range(last_step(trace) + 1):
        requests = trace.states.at(step)["requests"].values()
        assert tokens() == [token for request in requests for token in request["prompt"] + request["tokens"]], step
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    requests = trace.states.at(0)["requests"].values()
    assert tokens() == [token for request in requests for token in request["prompt"]]


def test_each_kind_of_run_shows_what_it_has(visit):
    page = visit("stop_string", "#step=99")
    assert "a stop text came" in page.inner_text(".sentence")
    page = visit("forked_samples", "#step=2&view=cache")
    assert "copied, because it had several readers (copy-on-write)" in page.inner_text(".cache-changes")
    page = visit("lookup", "#step=2")
    assert "looked up in the text, not drawn" in page.inner_text(".speculation-rule")
    page = visit("golden_engine", "#step=7&view=batch")
    assert "preempted" in page.inner_text(".batch-legend")


def test_keys_choose_a_view_and_a_step_and_the_address_says_so(visit):
    page = visit("golden_generate")
    for view, key in KEYS.items():
        page.keyboard.press(key)
        assert page.get_attribute(f"[data-view={view}]", "aria-current") == "true"
        assert f"view={view}" in page.evaluate("location.hash")
    page.keyboard.press("End")
    assert "step=4" in page.evaluate("location.hash")


def test_keys_in_a_choice_of_attention_do_not_step(visit):
    page = visit("golden_generate", "#step=3&view=attention")
    page.focus("[data-choice=head]")
    page.keyboard.press("ArrowDown")
    assert "step=3" in page.evaluate("location.hash")
    assert page.input_value("[data-choice=head]") == "1"
    assert page.evaluate("document.activeElement.dataset.choice") == "head"  # the focus is still there


def test_blocks_are_shared_known_or_free_as_the_states_say(visit, traces):
    page, states = visit("golden_engine", "#step=0&view=cache"), traces["golden_engine"].states
    for step in range(len(states.steps)):
        blocks = states.at(step)["blocks"]
        expected = [kind_of(blocks.get(number)) for number in range(11)]
        kinds = page.eval_on_selector_all(
            ".cache-block", "all => all.map((one) => one.className.split('cache-block-')[1])"
        )
        assert kinds == expected, f"step {step}"
        page.keyboard.press("ArrowRight")


def kind_of(block):
    if block is None:
        return "free"
    return "known" if block["refs"] == 0 else "shared" if block["refs"] > 1 else "used"


def test_what_a_step_did_with_blocks_is_listed_with_whose_they_are(visit):
    page = visit("golden_engine", "#step=4&view=cache")
    assert page.inner_text(".cache-changes").splitlines()[-1] == "C blocks 5, 6: given back"  # it has ended
    page.goto(page.url.replace("step=4", "step=2"))
    page.wait_for_function("location.hash.includes('step=2')")
    assert "block 2 to block 7: copied" in page.inner_text(".cache-changes")


def test_a_rejected_draft_token_is_cut_from_the_cache(visit):
    page = visit("golden_speculative", "#step=5&view=cache")
    assert page.locator(".cache-slots .cache-cut").count() == 3
    assert "14 of 19 tokens" in page.inner_text(".cache-meter")


def test_the_matrix_grows_a_row_a_token(visit):
    page = visit("golden_generate", "#step=1&view=attention")
    sizes = []
    for _ in range(4):
        sizes.append(page.eval_on_selector(".attention-matrix", "matrix => Math.floor(matrix.viewBox.baseVal.width)"))
        page.keyboard.press("ArrowRight")
    assert sizes == [5, 6, 7, 8]


def test_a_click_on_the_matrix_chooses_its_row(visit):
    page = visit("golden_generate", "#step=4&view=attention")
    box = page.locator(".attention-matrix").bounding_box()
    page.locator(".attention-matrix").click(position={"x": 5, "y": box["height"] * 2.5 / 8})
    assert page.input_value("[data-choice=query]") == "2"


def test_a_column_of_the_batch_is_a_link_to_its_step(visit):
    page = visit("golden_engine", "#step=9&view=batch")
    page.click(".batch-table thead button >> text='4'")
    assert "step=4" in page.evaluate("location.hash")


@pytest.mark.parametrize("name", RUNS)
def test_nothing_leaves_a_page_of_320_pixels(visit, traces, name):
    page = visit(name, width=320)
    for view in views_of(page):
        page.click(f"[data-view={view}]")
        assert page.evaluate(OVERFLOWING_STEPS, last_step(traces[name])) == [], view


@pytest.mark.parametrize(("name", "where"), [("hostile", ".text"), ("strange", ".difference")])
def test_texts_of_strangers_are_shown_and_never_run(visit, traces, name, where):
    page = visit(name)
    for view in views_of(page):
        page.click(f"[data-view={view}]")
        page.keyboard.press("Home")
        for _ in range(last_step(traces[name])):
            page.keyboard.press("ArrowRight")
            assert page.locator("img, b[onclick]").count() == 0
            assert "\u202e" not in page.inner_text("main")
    page.keyboard.press("d")
    assert "<img" in page.inner_text(where)


def test_a_page_of_a_comparison_begins_with_the_difference_and_leads_to_its_step(visit):
    page, difference = visit("compared"), comparisons()["compared"].difference
    assert views_of(page) == ["difference", "pass", "cache", "batch"]
    first = difference["first"]["step"]
    assert "Different: " in page.inner_text(".difference-verdict")
    assert dict(difference["first"]["about"])["A"] in page.inner_text(".difference-first")
    for button, view in (("Go to step", "difference"), ("The pass of", "pass"), ("The cache after", "cache")):
        page.keyboard.press("Home")
        page.keyboard.press("d")
        page.click(f".difference-jumps button >> text={button}")
        assert f"step={first}&view={view}" in page.evaluate("location.hash")
    assert "The first difference is here." in page.inner_text(".sentence")


def test_each_step_says_where_b_ran_its_tokens_and_how_much_differs(visit):
    page, difference = visit("compared"), comparisons()["compared"].difference
    for step in difference["steps"]:
        marked = page.eval_on_selector_all(".difference-now", "rows => rows.map((row) => row.textContent)")
        of_b = [row.split("◀")[0] for row in marked if row.startswith("pass")]
        assert of_b == [f"pass {number}" for number in step["b"]]
        if step["different"]:
            assert f"{step['different']} of {step['results']} differ" in page.inner_text(".difference-now >> nth=0")
        page.keyboard.press("ArrowRight")
    page.click(".difference-passes button >> text='step 2'")
    assert "step=2" in page.evaluate("location.hash")


def test_the_cell_of_the_first_difference_has_a_sign(visit):
    page, first = visit("compared"), comparisons()["compared"].difference["largest"]
    [expected] = [one for one in first if one["first"]]
    cell = page.locator(".difference-here")
    assert cell.inner_text() == f"✗ {expected['relative']}"
    row = cell.locator("xpath=..")
    assert row.inner_text().split("\t")[0] == expected["operation"]


def test_an_ordinary_page_has_no_difference(visit):
    page = visit("golden_generate")
    page.keyboard.press("d")
    assert "difference" not in views_of(page) and "difference" not in page.text_content(".help")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "step"),
    [("golden_generate", 3), ("golden_engine", 7), ("golden_speculative", 5), ("forked_samples", 0), ("compared", 1)],
)
def test_axe_finds_nothing_serious(visit, name, step, scheme):
    page = visit(name, f"#step={step}", scheme=scheme)
    for number, view in enumerate(views_of(page)):
        page.click(f"[data-view={view}]")
        # What is around the views is the same in all of them.
        found = axe.Axe().run(page, context=".view" if number else None).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in serious] == [], view
