"""Page: a trace as one HTML file, in which a reader steps through the run, forward and back.

The file has all it needs: style, script and trace. Its content security policy forbids everything else: it asks
nothing of a network, and runs no script but its own. What the trace says is data: JSON in which no `<` occurs.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from minillm.trace.reader import Trace
from minillm.trace.words import sentences

FOLDER = Path(__file__).parent / "page"
# In the order of the tabs. Only `minillm bisect` writes pages with a difference.
VIEWS = ("text", "difference", "pass", "cache", "attention", "choice", "batch", "speculation")
LARGEST_PAGE = 2_000_000  # bytes

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main><noscript>This page needs JavaScript. It asks nothing of a network.</noscript></main>
<script type="application/json" id="trace">{data}</script>
<script>{script}</script>
</body>
</html>
"""
START = 'render(JSON.parse(document.getElementById("trace").textContent), document.querySelector("main"));'


def page(trace: Trace, difference: dict[str, Any] | None = None) -> str:
    """Return the page of a trace.

    Args:
        trace: the trace.
        difference: of the run from another one, as `minillm bisect` gives it: it has a view, and words for the steps.

    Raises:
        ValueError: it would have more than 2 MB.
    """
    style, script = _style(), _script()
    policy, title, data = _policy(style, script), _title(trace, difference), _data(trace, difference)
    text = TEMPLATE.format(policy=policy, title=title, style=style, data=data, script=script)
    size = len(text.encode())
    if size > LARGEST_PAGE:
        raise ValueError(f"the page would have {size / 1e6:.1f} MB, and 2 MB are the most; {_what_to_leave_out(trace)}")
    return text


def _script() -> str:
    """Return the script, in a function of its own. A view sees the names of the parts, but not those of other views."""
    parts = [_read(file) for file in sorted(FOLDER.glob("*.js"))]
    views = [f"{{\n{_read(FOLDER / 'views' / f'{name}.js')}}}" for name in VIEWS]
    return "\n".join(["(() => {", '"use strict";', "const views = {};", *parts, *views, START, "})();"])


def _style() -> str:
    first = FOLDER / "style.css"  # it has the colours
    others = sorted({*FOLDER.glob("*.css"), *FOLDER.glob("views/*.css")} - {first})
    return "\n".join(map(_read, [first, *others]))


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _data(trace: Trace, difference: dict[str, Any] | None) -> str:
    """Return the trace as JSON that ends no element: `<` occurs only in texts, where it can be escaped."""
    content = {"header": trace.header, "lines": trace.lines, "sentences": sentences(trace)}
    if difference:
        content |= {"sentences": difference["sentences"], "difference": difference}
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _policy(style: str, script: str) -> str:
    """Return the content security policy: this style, this script, and nothing from anywhere."""
    parts = "default-src 'none'", f"style-src {_hash(style)}", f"script-src {_hash(script)}"
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _title(trace: Trace, difference: dict[str, Any] | None) -> str:
    model = trace.states.models.get(0)
    title = difference["title"] if difference else f"A run of {model['name'] if model else 'an unknown model'}"
    return html.escape("".join(sign if sign.isprintable() else "\ufffd" for sign in title))


def _what_to_leave_out(trace: Trace) -> str:
    """Return how to make the page smaller, by what most of it is."""
    sizes = [(line["t"] == "attention", len(json.dumps(line))) for line in trace.lines]
    attention = sum(size for is_attention, size in sizes if is_attention)
    if 2 * attention > sum(size for _, size in sizes):
        return "record fewer layers (--layers), or no attention (--detail choices)"
    return "record fewer tokens, or no candidates (--detail tokens)"
