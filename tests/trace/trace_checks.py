"""Recordings for tests: in a file, or in memory with the state after every event."""

from minillm.trace import load, record
from minillm.trace.recorder import Recorder
from minillm.trace.schema import check
from minillm.trace.states import States


def recorded(folder, run, **options):
    """The trace of what `run` does, and its result."""
    path = folder / "run.jsonl"
    with record(path, **options):
        result = run()
    return load(path), result


class MemoryRecorder(Recorder):
    """A recorder whose lines stay in memory."""

    def __init__(self):
        self.lines = []
        super().__init__(self.lines.append, "choices", False)

    def states(self):
        states = States()
        for line in self.lines:
            states.add(check(line))
        return states

    def state(self):
        """The state after all lines so far."""
        self.close()
        return self.states().last
