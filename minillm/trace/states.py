"""States: the state after each step of a trace, forward and back at the same price.

    keyframe 0           keyframe 1           keyframe 2
    |                    |                    |
    step 0 ....... 31    step 32 ...... 63    step 64 ...

A keyframe is a copy of the state before its step. The state after step 40 is keyframe 1, and the lines of steps 32
to 40.
"""

from typing import Any

from minillm.trace.state import Line, State, apply, begin_step, new_state

EVERY = 32  # steps between keyframes
MOST_KEPT = 20_000_000  # tokens, characters and blocks in all keyframes; a trace from a stranger could have any number
SHARED = ("prompt", "drafts")  # lists that are never changed


class States:
    """The states of a trace after each step, each found from the nearest keyframe before it.

    Attributes:
        steps: for each step from 0, its lines.
        models: the lines of the models, by number.
        last: the state after the last line, which must not be changed.
        folded: lines that `at` has folded so far: what its steps cost.
    """

    def __init__(self) -> None:
        """Begin without lines."""
        self.steps: list[list[Line]] = [[]]
        self.models: dict[int, Line] = {}
        self.folded = 0
        self.last = new_state()
        self._keyframes = [new_state()]  # number n: the state before step n * 32
        self._kept, self._blocks = 0, 0

    def add(self, line: Line) -> None:
        """Append a line.

        Raises:
            ValueError, KeyError, IndexError: it contradicts the lines before it.
        """
        step = line["s"]
        if self.steps[-1] and self.steps[-1][-1]["t"] == "end":
            raise ValueError("a line after the end")
        if not len(self.steps) - 1 <= step <= len(self.steps):
            raise ValueError(f"step {step} after step {len(self.steps) - 1}")
        self._check_references(line)
        if step == len(self.steps):
            self._begin(step)
        apply(self.last, line)
        self.steps[-1].append(line)

    def at(self, step: int) -> State:
        """Return the state after a step, which may be changed; -1 is the last step."""
        step = range(len(self.steps))[step]
        state = _copied(self._keyframes[step // EVERY])
        for number in range(step // EVERY * EVERY, step + 1):
            begin_step(state, number)
            for line in self.steps[number]:
                apply(state, line)
                self.folded += 1
        return state

    def _begin(self, step: int) -> None:
        self.steps.append([])
        if step % EVERY == 0:
            self._kept += _size(self.last)
            if self._kept > MOST_KEPT:
                raise ValueError("the run is too long to keep its states; record a shorter one")
            self._keyframes.append(_copied(self.last))

    def _check_references(self, line: Line) -> None:
        """Check numbers of models and blocks, which must have been described."""
        match line["t"]:
            case "model":
                self.models[line["model"]] = line
            case "pass" if line["model"] not in self.models:
                raise ValueError(f"model {line['model']} is not described")
            case "pool":
                self._blocks = line["first"] + line["blocks"]
            case "block" if max(line["blocks"], default=0) >= self._blocks:
                raise ValueError(f"there is no block {max(line['blocks'])}")


def _copied(state: State) -> State:
    """Return a copy of which no list or object is also in the original, but for those that are never changed."""
    return {name: _copied_value(name, value) for name, value in state.items()}


def _copied_value(name: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied_value(name, inner) for name, inner in value.items()}
    return value.copy() if isinstance(value, list) and name not in SHARED else value


def _size(state: State) -> int:
    """Return the number of tokens, characters and blocks that a copy of the state takes."""
    answers = sum(3 * len(request["tokens"]) + len(request["text"]) + 12 for request in state["requests"].values())
    return answers + sum(len(table["blocks"]) + 6 for table in state["tables"].values()) + 3 * len(state["blocks"])
