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


def is_called(label: str, name: str) -> bool:
    """Return whether an exercise such as 03_softmax is called so: 3, softmax or 03_softmax, also with .py."""
    return name.removesuffix(".py") in (label, label[3:], label[:2], label[:2].lstrip("0"))


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
    """Check the exercises that are named, or all of them. Return 0 if all are right, 2 if there is no such exercise."""
    wanted, known, wrong = sys.argv[1:], sorted((HERE / "examples").glob("*.bin")), 0
    unknown = [name for name in wanted if not any(is_called(examples.stem, name) for examples in known)]
    if unknown:
        print(f"there is no exercise {unknown[0]} here; expected a number such as {int(known[0].stem[:2])}, or a name")
        return 2
    for examples in known:
        if wanted and not any(is_called(examples.stem, name) for name in wanted):
            continue
        try:
            text = check(examples)
        except NotImplementedError:
            text = "not started"
        except FileNotFoundError as problem:
            text = f"there is no file {problem.filename}"
        except (Exception, SystemExit) as problem:
            text = f"{type(problem).__name__}: {problem}"
        wrong += not text.endswith("are right")
        print(f"{examples.stem}: {text}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
