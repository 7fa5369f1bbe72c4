"""The prose of twelve lessons, as a text to measure models with: English, 44,000 characters, the same everywhere."""

from minillm.classroom.player.lessons import find_lesson

TOPICS = (  # the figures of docs/quantization-accuracy.md are of these lessons, in this order
    "what_is_inference", "inference_vs_training", "attention", "prefill", "decode", "kv_cache", "batching",
    "paged_attention", "speculative_decoding", "hardware", "latency_and_queues", "cost",
)  # fmt: skip


def lesson_text() -> str:
    """Return the prose of the lessons on `TOPICS`, without code."""
    lessons = [find_lesson(topic) for topic in TOPICS]
    return "\n\n".join(cell.source for lesson in lessons for cell in lesson.cells if cell.kind == "prose")
