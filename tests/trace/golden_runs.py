"""The runs whose traces are kept as golden files. `python tests/trace/golden_runs.py` writes them again."""

import json
from pathlib import Path

import minillm
from minillm.trace.reader import load
from minillm.trace.recording import record
from minillm.trace.terminal.frames import frame

HERE = Path(__file__).parent
NAMES = "golden_generate", "golden_engine", "golden_speculative"
QUESTION = "The capital of France is"
WARM = minillm.Sampling(temperature=0.8, top_k=40, top_p=0.95, seed=7)


def golden_generate(path):
    model = minillm.load("story", backend="exact")
    with record(path, detail="attention", layers=[0, 5]):
        minillm.generate(model, QUESTION, 12)


def golden_engine(path):
    """A small pool: samples share a prompt and copy its last block, requests are preempted, known blocks evicted."""
    model = minillm.load("story", backend="exact")
    with record(path):
        engine = minillm.Engine(model, block_size=4, num_blocks=11, max_batch_tokens=16, preemption="swap")
        engine.submit_samples("Once upon a time, there was a little girl named", 2, 9, WARM)
        engine.submit("The sky is", 6)
        for _ in range(3):
            engine.step()
        engine.submit("Once upon a time, there was a big", 7, WARM)
        engine.submit("One day, a girl named Lily went to the park with her mom.", 12)
        engine.cancel(engine.submit("The end", 4))
        engine.run()
        engine.submit("Once upon a time, there was a little girl named", 3)
        engine.run()


def golden_speculative(path):
    model, draft = minillm.load("story", backend="exact"), minillm.load("story-draft", backend="exact")
    seeded = minillm.Sampling(seed=1)  # a greedy round draws numbers too
    with record(path):
        minillm.speculative_generate(model, draft, "Once upon a time", 16, minillm.Sampling(0.7, top_k=20, seed=3), k=3)
        minillm.speculative_generate(model, minillm.PromptLookup(), "The sky is blue. The sky is", 10, seeded, k=3)


def states(path):
    """The state after each step of a golden trace, as JSON has it: the keys of objects are texts."""
    found = load(path).states
    return json.loads(json.dumps([found.at(step) for step in range(len(found.steps))]))


FRAMES = (  # one of each view, at places where something happens
    ("golden_generate", 1, "pass", 72),
    ("golden_generate", 3, "cache", 60),
    ("golden_generate", 4, "attention", 60),
    ("golden_engine", 1, "choice", 72),
    ("golden_engine", 7, "cache", 78),
    ("golden_engine", 7, "batch", 60),
    ("golden_speculative", 4, "speculation", 72),
    ("golden_speculative", 4, "text", 60),
)


def frames_text():
    """Some frames of the golden traces, as `golden_frames.txt` keeps them."""
    traces = {name: load(HERE / f"{name}.jsonl") for name in NAMES}
    shown = [f"{name}\n{frame(traces[name], step, view, width)}\n" for name, step, view, width in FRAMES]
    return "\n".join(shown)


if __name__ == "__main__":
    for name in NAMES:
        (HERE / f"{name}.jsonl").unlink(missing_ok=True)
        globals()[name](HERE / f"{name}.jsonl")
    rows = {name: states(HERE / f"{name}.jsonl") for name in NAMES}
    text = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(state, separators=(",", ":")) for state in each) + "\n]"
        for name, each in rows.items()
    )
    (HERE / "golden_frames.txt").write_text(frames_text(), encoding="utf-8")
    (HERE / "golden_states.json").write_text("{" + text + "}\n", encoding="ascii")
