"""What a process for a commit is asked, and what it answers: JSON, and arrays in a .npz file. Nothing is unpickled."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.bisection.observed import Observed, Place, RowKey, Source


@dataclass(frozen=True)
class Job:
    """What the process is asked: to choose greedy tokens after a prompt, or to run a schedule over given tokens.

    Attributes:
        model, backend, dtype, weights: as `minillm.load` takes them.
        schedule: the schedule as a line.
        tokens: the prompt; for a run, also the tokens after it.
        prompt_tokens: the number of tokens in the prompt.
        new_tokens: the number of tokens to choose; 0 for a run.
        keep, cache_layer: the rows and the layer of `Wanted`.
    """

    model: str
    backend: str
    dtype: str
    weights: str
    schedule: str
    tokens: list[int]
    prompt_tokens: int
    new_tokens: int
    keep: list[list[int]]
    cache_layer: int | None = None

    def write(self, file: Path) -> None:
        """Write the job."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Job":
        """Read the job."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def write_observed(observed: Observed, file: Path) -> None:
    """Write what was observed."""
    results = [(key, place, value) for key, places in observed.digests.items() for place, value in places.items()]
    values = [(key, place, vector) for key, places in observed.values.items() for place, vector in places.items()]
    read: dict[str, Any] = {f"read {','.join(map(str, key))}": np.stack(both) for key, both in observed.read.items()}
    described = {
        "epsilon": observed.epsilon,
        "passes": observed.passes,
        "row_bytes": observed.row_bytes,
        "sources": [[step, *place, *source] for (step, place), source in observed.sources.items()],
    }
    np.savez(
        file,
        described=np.frombuffer(json.dumps(described).encode(), np.uint8),
        digest_keys=_keys(results),
        digests=np.frombuffer(b"".join(value for *_, value in results), np.uint8).reshape(-1, 8),
        value_keys=_keys(values),
        lengths=np.array([len(vector) for *_, vector in values], np.int64),
        values=np.concatenate([vector for *_, vector in values]) if values else np.zeros(0),
        **read,
    )


def read_observed(file: Path) -> Observed:
    """Read what was observed."""
    with np.load(file, allow_pickle=False) as arrays:
        described = json.loads(arrays["described"].tobytes())
        passes = [[(part[0], part[1], part[2]) for part in parts] for parts in described["passes"]]
        observed = Observed(float(described["epsilon"]), passes, row_bytes=int(described["row_bytes"]))
        for numbers, value in zip(arrays["digest_keys"].tolist(), arrays["digests"], strict=True):
            observed.digests.setdefault(RowKey(*numbers[:3]), {})[Place(*numbers[3:])] = value.tobytes()
        vectors = np.split(arrays["values"], np.cumsum(arrays["lengths"])[:-1])
        for numbers, vector in zip(arrays["value_keys"].tolist(), vectors, strict=False):
            observed.values.setdefault(RowKey(*numbers[:3]), {})[Place(*numbers[3:])] = vector
        for name in arrays.files:
            if name.startswith("read "):
                keys, values = arrays[name]
                observed.read[RowKey(*map(int, name.removeprefix("read ").split(",")))] = keys, values
    for step, layer, operation, *texts in described["sources"]:
        observed.sources[step, Place(layer, operation)] = Source(*texts)
    return observed


def _keys(entries: list[tuple[RowKey, Place, Any]]) -> Array:
    return np.array([[*key, *place] for key, place, _ in entries], np.int64).reshape(-1, 5)
