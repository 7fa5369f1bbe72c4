"""Renders chat templates in a child process with limits (`child_process.py`, `template_process.py`).

jinja2's own sandbox hides Python's internals, but lets a template loop for ever or ask for `'x' * 10**10`. Why it is
done so, and what it costs: docs/decisions/template-sandbox.md.
"""

import atexit
import os
from pathlib import Path
from typing import Any

from minillm.text.child_process import ChildProcess

PROGRAM = Path(__file__).with_name("template_process.py")
CPU_SECONDS = 2  # for one rendering, in which the template may also be compiled
MEMORY_BYTES = 512_000_000
LONGEST_TEXT = 2_000_000  # characters
LONGEST_ANSWER = 12 * LONGEST_TEXT + 1000  # bytes; an emoji takes 12 in JSON


class TemplateSandbox(ChildProcess):
    """The child process that renders templates."""

    def __init__(self) -> None:
        super().__init__(PROGRAM, ("jinja2", "markupsafe"), LONGEST_ANSWER)

    def render(self, template: str, variables: dict[str, Any]) -> str:
        """Return the text of `template` with these variables, which must be values that JSON can express.

        Raises:
            ValueError: the template fails, or exceeds a limit.
            NoProcess: the machine lets no child process run.
        """
        request = {"template": template, "variables": variables, "characters": LONGEST_TEXT}
        return str(self.ask(request, CPU_SECONDS, MEMORY_BYTES)["text"])


SANDBOX = TemplateSandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.begin_again_after_fork)
