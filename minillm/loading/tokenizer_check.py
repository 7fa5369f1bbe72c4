"""What a tokenizer.json may ask of the tokenizers library, which takes it at its word.

A few dozen steps that each double a text would make terabytes of one letter, and the table of a `Precompiled` step is
allocated by the length that it claims. Memory that is asked for so is not an error there: the process ends.
"""

import base64
import math
from typing import Any

LARGEST_GROWTH, MOST_STEPS = 64, 100
INNER = ("normalizers", "pretokenizers", "decoders")  # what a step of type Sequence holds


def check_definition(definition: Any, source: str) -> None:
    """Raise ValueError unless texts stay about as long as they are, on their way in and on their way out."""
    if not isinstance(definition, dict):
        raise ValueError(f"{source}: not usable as a tokenizer: expected a JSON object")
    into = [*_steps(definition.get("normalizer")), *_steps(definition.get("pre_tokenizer"))]
    for steps in (into, _steps(definition.get("decoder"))):
        growth = math.prod(_growth(step) for step in steps[:MOST_STEPS])
        if len(steps) > MOST_STEPS or growth > LARGEST_GROWTH:
            raise ValueError(
                f"{source}: {len(steps)} steps that can make a text {growth:.3g} times as long; "
                f"expected at most {MOST_STEPS} steps, {LARGEST_GROWTH} times as long"
            )
    if not all(_is_sound(step["precompiled_charsmap"]) for step in into if "precompiled_charsmap" in step):
        raise ValueError(f"{source}: precompiled_charsmap: expected a table as long as it claims to be")


def _steps(part: Any) -> list[dict[str, Any]]:
    """This step and all inside it."""
    found, waiting = [], [part]
    while waiting:
        step = waiting.pop()
        if isinstance(step, dict):
            found.append(step)
            waiting += [inner for name in INNER if isinstance(step.get(name), list) for inner in step[name]]
    return found


def _growth(step: dict[str, Any]) -> int:
    """How many times as long this step makes a text at most."""
    if "add_prefix_space" in step or step.get("type") == "ByteLevel":
        return 2
    pattern, content = step.get("pattern"), step.get("content")
    if not isinstance(content, str) or pattern is None:
        return 1
    fixed = pattern.get("String") if isinstance(pattern, dict) else pattern
    return math.ceil(len(content) / max(1, len(fixed))) if isinstance(fixed, str) else 1 + len(content)


def _is_sound(table: Any) -> bool:
    """SentencePiece's normalization table: four bytes with the length of a trie, and at least as many bytes."""
    try:
        data = base64.b64decode(table)
    except (ValueError, TypeError):
        return False
    return len(data) >= 4 and int.from_bytes(data[:4], "little") <= len(data) - 4
