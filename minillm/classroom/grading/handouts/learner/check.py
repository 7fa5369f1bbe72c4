"""Check your exercises on a few examples: `python check.py`, or `python check.py 3` for one. It needs only NumPy.

The examples are results, not solutions. Your teacher grades with more cases than these.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "examples"))
import wire  # type: ignore[import-not-found]  # noqa: E402


def equal(yours: Any, expected: Any) -> bool:
    """Return whether two results are equal up to rounding."""
    if isinstance(expected, np.ndarray):
        same_kind = isinstance(yours, np.ndarray) and yours.shape == expected.shape
        return same_kind and yours.dtype.kind == expected.dtype.kind and np.allclose(yours, expected, equal_nan=True)
    if isinstance(expected, dict):
        return (
            isinstance(yours, dict)
            and list(yours) == list(expected)
            and all(equal(yours[k], expected[k]) for k in yours)
        )
    if isinstance(expected, list | tuple):
        same_length = isinstance(yours, list | tuple) and len(yours) == len(expected)
        return same_length and all(map(equal, yours, expected))
    if isinstance(expected, float):
        return isinstance(yours, int | float) and bool(np.isclose(yours, expected, equal_nan=True))
    return bool(yours == expected)


def load(file: Path, name: str) -> Any:
    """Return the function of an exercise."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def check(examples: Path) -> str:
    """Return what is to be said about one exercise."""
    known = wire.unpack(examples.read_bytes()[wire.LENGTH_BYTES :])
    around: dict[str, Any] = {"call": lambda function, **inputs: function(*inputs.values())}
    exec(known["harness"], around)
    function = load(HERE / f"{examples.stem}.py", known["name"])
    for number, (inputs, expected) in enumerate(known["cases"], start=1):
        shown = ", ".join(f"{name} = {value!r}" for name, value in inputs.items())
        result = around["call"](function, **inputs)
        if not equal(result, expected):
            return f"example {number} is wrong\n  inputs: {shown}\n  yours: {result!r}\n  expected: {expected!r}"
    return f"{len(known['cases'])} examples are right"


def main() -> int:
    """Check the exercises that are named, or all of them. Return how many are not right."""
    wanted = [f"{int(number):02}_" for number in sys.argv[1:] if number.isdigit()]
    wrong = 0
    for examples in sorted((HERE / "examples").glob("*.bin")):
        if wanted and examples.name[:3] not in wanted:
            continue
        try:
            text = check(examples)
        except NotImplementedError:
            text = "not started"
        except Exception as problem:
            text = f"{type(problem).__name__}: {problem}"
        wrong += not text.endswith("are right")
        print(f"{examples.stem}: {text}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
