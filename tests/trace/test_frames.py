"""Frames: each view of each golden run, at several widths, says what the run's lines say."""

import io
import json
import random
import re
import sys
import unicodedata

import golden_runs
import pytest
from golden_runs import HERE, NAMES, QUESTION
from rich.cells import cell_len

import minillm
from minillm.trace import frame, frames, load, record
from minillm.trace.reader import parsed
from minillm.trace.terminal.characters import cut, fitted, visible
from minillm.trace.terminal.frames import EACH, happenings, steps_that_matter
from minillm.trace.terminal.layout import prose
from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.replay import Replay
from minillm.trace.terminal.views import VIEWS
from minillm.trace.terminal.views.passes import parts_of
from minillm.trace.words import letter, sentences

TRACES = {name: load(HERE / f"{name}.jsonl") for name in NAMES}
WIDTHS = 40, 60, 78, 132
HOSTILE = [
    "\x1b[2J",
    "\u202eevil",
    "\0",
    "\ud800",
    "\r\n",
    "東京都",
    "e\u0301",
    "\u0301start",
    "a" * 300,
    "[b]x[/b]",
    "",
]


def steps_of(trace):
    return range(len(trace.states.steps))


def of_kind(trace, kind):
    """The lines of a kind, each with its step."""
    return [(step, line) for step in steps_of(trace) for line in trace.states.steps[step] if line["t"] == kind]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("view", VIEWS)
def test_no_line_is_wider_than_asked(name, view):
    for width in WIDTHS:
        for step in steps_of(TRACES[name]):
            drawn = VIEWS[view].draw(Moment(TRACES[name], step, width))  # before anything is cut
            assert drawn and all(line.cell_len <= width for line in drawn), (width, step)


@pytest.mark.parametrize("view", ["attention", "choice"])
def test_a_view_says_what_was_not_recorded(view):
    with record(detail="tokens") as run:
        minillm.generate(minillm.load("story"), [1, 2], 2)
    assert f"--detail {'choices' if view == 'choice' else view}" in frame(run.trace, 1, view)


def test_golden_frames():
    expected = (HERE / "golden_frames.txt").read_text(encoding="utf-8")
    assert golden_runs.frames_text() == expected, "if that is wanted: python tests/trace/golden_runs.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_has_the_sentence_of_its_step(name):
    for step, sentence in enumerate(sentences(TRACES[name])):
        words = frame(TRACES[name], step, "batch").split("\n\n")[-1]
        assert words.replace("\n", " ") == sentence


@pytest.mark.parametrize("name", NAMES)
def test_the_text_has_every_token_and_where_it_comes_from(name):
    signs = {"": "─", "accepted": "+", "corrected": "!", "bonus": "*"}
    trace = TRACES[name]
    lines = frame(trace, -1, "text", 1000).split("\n")
    for request in trace.states.last["requests"].values():
        texts = [visible(trace.texts[token]) for token in request["prompt"] + request["tokens"]]
        kept = [re.sub("[│┃]~~[^│┃]*~~(?=[│┃])", "", line).replace("┃", "│") for line in lines]  # without rejected ones
        [place] = [number for number, line in enumerate(kept) if f"│{'│'.join(texts)}│" in line]
        below = re.findall(r"(\S)\1*", lines[place + 1])
        assert [sign for sign in below if sign not in "x-·"] == [signs[origin] for origin in request["origins"]]


def test_rejected_tokens_are_struck_before_their_correction():
    trace = TRACES["golden_speculative"]
    corrected = [(step, line) for step, line in of_kind(trace, "verdict") if line["then"] == "corrected"]
    assert corrected
    for step, line in corrected:
        text = frame(trace, step, "text", 400)
        rejected, new = (visible(trace.texts[token]) for token in (line["tokens"][-1]["token"], line["token"]))
        assert text.index(f"~~{rejected}~~") < text.rindex(new)
        view = frame(trace, step, "speculation", 78)
        assert f"~~{rejected}~~  ✗ rejected" in view and f"correction  {new}" in view


def test_speculation_counts_what_the_verdicts_say():
    trace, judged = TRACES["golden_speculative"], {0: [], 1: []}  # of each request
    for step, line in of_kind(trace, "verdict"):
        judged[line["id"]] += [one["accepted"] for one in line["tokens"]]
        view = frame(trace, step, "speculation", 78)
        assert view.count("✓ accepted") == sum(one["accepted"] for one in line["tokens"])
        of_all = judged[line["id"]]
        assert re.search(rf"^{sum(of_all)} of {len(of_all)} judged draft tokens? accepted", view, re.MULTILINE)
        assert all(("<" if one["accepted"] else ">=") in view for one in line["tokens"])


@pytest.mark.parametrize("name", NAMES)
def test_the_arrays_of_a_pass_have_its_flops(name):
    config = TRACES[name].states.models[0]["config"]
    passes = [line for _, line in of_kind(TRACES[name], "pass") if line["model"] == 0]
    for line in passes:
        assert sum(part.flops for part in parts_of(config, line["rows"])) == line["flops"]


def test_prefill_is_wide_and_decode_narrow():
    trace = TRACES["golden_generate"]
    rows = [re.search("░*█+", frame(trace, step, "pass")).group() for step in (1, 2, 3)]
    assert rows == ["█████", "░░░░░█", "░░░░░░█"]


def test_more_tokens_are_further_right_under_the_roofline():
    trace = TRACES["golden_engine"]
    place = {step: max(line.find("●") for line in frame(trace, step, "pass").split("\n")) for step in (5, 11)}
    assert place[5] > place[11] + 5  # 16 tokens, and one


def test_a_contiguous_cache_lights_the_columns_of_the_step():
    trace = TRACES["golden_generate"]
    for step, line in of_kind(trace, "pass"):
        grid = [text for text in frame(trace, step, "cache").split("\n") if text.startswith("layer ")]
        [row] = line["rows"]
        assert len(grid) == 6 and set(grid[0][7:].strip()) <= {"▒", "█", "·"}
        assert all(text.count("█") == 2 * row["count"] and text.count("▒") == 2 * row["first"] for text in grid)
        assert f"{row['first'] + row['count']} of 16 slots in use" in frame(trace, step, "cache")


def test_rejected_tokens_leave_the_cache():
    trace = TRACES["golden_speculative"]
    for step, line in of_kind(trace, "verdict"):
        cut_off = [text.count("x") for text in frame(trace, step, "cache").split("\n") if text.startswith("layer 0")]
        rows = [
            row
            for _, each in of_kind(trace, "pass")
            if each["model"] == 0 and each["s"] == step
            for row in each["rows"]
        ]
        kept = 1 + sum(one["accepted"] for one in line["tokens"])
        assert cut_off[-1] == 2 * (rows[0]["count"] - kept)


def test_blocks_say_who_has_them_and_what_happened():
    trace = TRACES["golden_engine"]
    badges = {"take": "taken", "hit": "prefix hit", "copy": "copy of", "evict": "evicted", "release": "released"}
    for step in steps_of(trace):
        state, view = trace.states.at(step), frame(trace, step, "cache", 78)
        for number, block in state["blocks"].items():
            holders = [table["request"] for table in state["tables"].values() if number in table["blocks"]]
            who = ",".join(map(letter, holders)) or "cached"
            assert f"{number} {who}" + (f" ×{block['refs']}" if block["refs"] > 1 else "") in view
        for number in state["running"]:
            table = state["tables"][state["requests"][number]["table"]]
            assert re.search(
                rf"^{letter(number)} +{table['blocks'][0]}\b.* {table['length']} tokens$", view, re.MULTILINE
            )
        rows = [
            row for row in (Moment(trace, step, 78).passed or {"rows": []})["rows"] if row["id"] in state["running"]
        ]
        written = "".join(re.findall(r"\[(\S+?)\]", view)).count("█")
        assert written == sum(row["count"] for row in rows)
        for line in trace.states.steps[step]:
            if line["t"] == "preempt":
                assert f"{letter(line['id'])}  swapped out: {line['swapped']} tokens" in view
            if line.get("do") in ("copy", "evict"):
                assert badges[line["do"]] in view


def test_the_choice_has_what_was_taken_and_the_number():
    for trace in TRACES.values():
        for step, line in of_kind(trace, "choice"):
            view = frame(trace, step, "choice", 78, request=line["id"])
            text = cut(visible(trace.texts[line["token"]]), 15)
            assert any(row.startswith(text) and "◀" in row for row in view.split("\n"))
            if line["number"] is not None:
                assert "is drawn" in view and re.search("^0 ·*█+·* 1$", view, re.MULTILINE)


def test_the_drawn_number_points_into_the_share_of_its_token():
    for step, line in of_kind(TRACES["golden_engine"], "choice"):
        rows = frame(TRACES["golden_engine"], step, "choice", 78, request=line["id"]).split("\n")
        if line["number"] is not None:
            [place] = [number for number, row in enumerate(rows) if row.startswith("0 ") and row.endswith(" 1")]
            assert rows[place][rows[place + 1].index("▲")] == "█"


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_has_a_column_for_each_step(name):
    trace = TRACES[name]
    for step in steps_of(trace):
        view = frame(trace, step, "batch", 200).split("\n")
        for number, request in trace.states.at(step)["requests"].items():
            [row] = [row for row in view if re.match(rf"{letter(number)}  \S", row)]
            cells = [cell for cell in row.split(" ")[3:] if cell]
            if ran := Moment(trace, step, 78).row(number):
                sign = {"prefill": "P", "chunk": "C", "decode": "D", "verify": "V"}[request["phase"]]
                ended = "■" if request["status"] == "finished" else ""
                assert cells[-1] == f"{sign}{ran['count'] if ran['count'] > 1 else ''}{ended}", (step, row)
            elif request["status"] in ("running", "waiting"):
                assert cells[-1] in "-.X"


def test_attention_is_shaded_by_weight_below_the_diagonal():
    view = frame(TRACES["golden_generate"], -1, "attention", 78, layer=5, head=1).split("\n")
    rows = [re.search(r" \d ([█▓▒░·]+)$", row).group(1) for row in view if re.search(r" \d [█▓▒░·]+$", row)]
    assert [len(row) for row in rows] == [2 * (1 + query) for query in range(8)]
    assert rows[0] == "██"  # the first token can see itself alone
    first = frame(TRACES["golden_generate"], -1, "attention", layer=5, head=0)
    assert frame(TRACES["golden_generate"], -1, "attention") == first != "\n".join(view)


def test_frames_that_matter_have_every_turn_of_the_run():
    trace = TRACES["golden_engine"]
    chosen = steps_that_matter(trace, "cache")
    turns = [step for step in steps_of(trace) if happenings(trace.states.steps[step]) & EACH]
    assert set(turns) <= set(chosen) and chosen == sorted(set(chosen)) and chosen[-1] == len(trace.states.steps) - 1
    assert len(chosen) < len(trace.states.steps) / 2
    assert steps_that_matter(TRACES["golden_generate"], "pass") == [1, 2, 4]
    assert frames(trace, "cache") == [frame(trace, step, "cache") for step in chosen]
    assert frames(trace, "cache", [3, -1], 60) == [frame(trace, 3, "cache", 60), frame(trace, 24, "cache", 60)]


@pytest.mark.parametrize("name", NAMES)
def test_stepping_back_shows_what_stepping_forward_showed(name):
    replay, shown = Replay(TRACES[name]), {}
    for view in replay.views:
        replay.press(str(1 + replay.views.index(view)))
        replay.press("home")
        for step in steps_of(TRACES[name]):
            shown[step] = replay.screen(80, 24)
            replay.press("right")
        assert len({str(screen) for screen in shown.values()}) == len(shown)
        for step in reversed(steps_of(TRACES[name])):
            assert (replay.step, replay.screen(80, 24)) == (step, shown[step])
            replay.press("left")


def test_keys():
    replay = Replay(TRACES["golden_generate"], "pass")
    seen = []
    for key in ("right", "enter", " ", "left", "end", "right", "home", "left", "page down", "x", "unknown"):
        assert replay.press(key)
        seen.append(replay.step)
    assert seen == [1, 2, 3, 2, 4, 4, 0, 0, 1, 1, 1]
    for key, view in (("a", "attention"), ("1", "text"), ("s", "text"), ("9", "text"), ("²", "text"), ("H", "text")):
        replay.press(key)
        assert replay.view == view
    assert [replay.press(key) for key in ("q", "escape", "end of input")] == [False] * 3
    replay.press("L")
    assert (replay.layer, replay.head) == (5, 1)


def test_a_long_view_scrolls():
    replay = Replay(TRACES["golden_engine"], "pass")
    replay.press("end")
    whole = [line.plain for line in replay.screen(80, 100)]
    seen = set()
    for _ in range(40):
        screen = [line.plain for line in replay.screen(80, 14)]
        assert len(screen) == 14 and screen[-1].startswith("→")
        seen.update(screen)
        replay.press("down")
    assert {line for line in whole if line} <= seen
    assert replay.above < len(whole)


@pytest.mark.parametrize("size", [(20, 5), (40, 3), (60, 16), (200, 60)])
def test_a_screen_fits_the_terminal(size):
    for name, view in ((name, view) for name in NAMES for view in VIEWS):
        replay = Replay(TRACES[name], view)
        replay.press("end")
        screen = replay.screen(*size)
        assert len(screen) <= size[1] and all(line.cell_len <= max(40, size[0]) for line in screen)


def hostile_trace():
    """A run whose tokens have the texts of an enemy."""
    lines = (HERE / "golden_speculative.jsonl").read_text().splitlines()
    number = 0
    for place, line in enumerate(map(json.loads, lines)):
        for pair in line.get("texts", []):
            pair[1], number = HOSTILE[number % len(HOSTILE)], number + 1
        if line["t"] == "model":
            line["name"] = "\x1b[2J\u202e"
        lines[place] = json.dumps(line)
    return parsed(("\n".join(lines) + "\n").encode(), "hostile")


def test_texts_of_a_stranger_steer_nothing():
    trace = hostile_trace()
    for view in VIEWS:
        text = "\n".join(frames(trace, view, width=60))
        assert all(unicodedata.category(sign) not in ("Cc", "Cf", "Cs") or sign == "\n" for sign in text)
        assert all(cell_len(line) <= 60 for line in text.split("\n"))
    assert "‹1B›[2J" in frame(trace, 0, "text") + frame(trace, 2, "text")
    texts = {trace.texts[token] for request in trace.requests.values() for token in request["prompt"]}
    prompts = "".join(frame(trace, step, "text", 1000) for step in (0, 8)).replace("┃", "│")
    assert all(f"│{cut(visible(text) or '(empty)', 24)}│" in prompts for text in texts) and len(texts) > 4


def test_widths_are_counted_as_a_terminal_does():
    assert (cut("東京都", 5), cell_len(fitted("東京都", 9)), fitted("e\u0301a", 3)) == ("東京…", 9, "e\u0301a ")
    assert [line.plain for line in prose("東京都 東京都 aaaaaaaaaaaa", 10)] == [
        "東京都",
        "  東京都",
        "  aaaaaaaa",
        "  aaaa",
    ]
    assert visible("\u0301a") == "‹301›a" and len(cut("e" + "\u0301" * 10_000, 5)) < 30


def test_an_output_without_these_signs_gets_others(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    shown = {view: frames(TRACES["golden_speculative"], view) for view in VIEWS}
    monkeypatch.undo()
    assert all(text.isascii() for texts in shown.values() for text in texts)
    assert "!~~_She~~!" in "".join(shown["text"]) and "layer 0   ++++" in "".join(shown["cache"])
    assert [[*map(len, text.split("\n"))] for text in frames(TRACES["golden_speculative"], "cache")] == [
        [*map(len, text.split("\n"))] for text in shown["cache"]
    ]


CHANGES = 0, 1, 3, 2**52, None, "", [], 0.5, True, "prefill", "decode", "contiguous", "none", "bonus"


def changed(value, dice):
    """The value, with something in it changed."""
    if isinstance(value, dict) and value:
        name = dice.choice(sorted(value))
        return value if name == "t" else value | {name: changed(value[name], dice)}
    if isinstance(value, list) and value:
        place = dice.randrange(len(value))
        return value[:place] + ([] if dice.random() < 0.3 else [changed(value[place], dice)]) + value[place + 1 :]
    return dice.choice(CHANGES)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_reader_accepts_can_be_drawn(name):
    dice, drawn = random.Random(name), 0
    for _ in range(20):
        lines = (HERE / f"{name}.jsonl").read_text().splitlines()[:-1]
        place = dice.randrange(1, len(lines))
        lines[place] = json.dumps(changed(json.loads(lines[place]), dice))
        try:
            trace = parsed(("\n".join(lines) + "\n").encode(), "changed")
        except ValueError:
            continue
        drawn += 1
        step = min(json.loads(lines[place]).get("s", 0), len(trace.states.steps) - 1)
        for view in VIEWS:
            assert all(cell_len(line) <= 60 for line in frame(trace, step, view, 60).split("\n"))
    assert drawn > 2


def test_a_run_in_memory_is_that_of_the_file(tmp_path):
    model, path = minillm.load("story", backend="exact"), tmp_path / "run.jsonl"
    for place in (path, None):
        with record(place, detail="attention", layers=[0]) as run:
            minillm.generate(model, QUESTION, 3)
        if place:
            first = run.trace
    assert (first.header, first.lines) == (run.trace.header, run.trace.lines) and run.trace is run.trace
    assert load(path).lines == first.lines and frame(first, 2, "text") == frame(run.trace, 2, "text")


def test_a_run_in_memory_is_there_after_its_block():
    with pytest.raises(ValueError, match="nothing ran while a trace was recorded"), record():
        pass
    with pytest.raises(RuntimeError, match="stop"), record() as run:
        minillm.generate(minillm.load("story"), QUESTION, 2)
        with pytest.raises(ValueError, match="still being recorded"):
            _ = run.trace
        raise RuntimeError("stop")
    assert not run.trace.finished and run.trace.states.last["requests"][0]["text"] == " Paris"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, "cash"), "view is 'cash'; expected one of text, pass"),
        ((0, "text", 20), "width is 20"),
        ((99, "text"), "no step 99"),
    ],
)
def test_a_mistake_is_said(arguments, words):
    with pytest.raises((ValueError, IndexError), match=words):
        frame(TRACES["golden_generate"], *arguments)
