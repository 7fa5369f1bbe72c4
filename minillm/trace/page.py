"""Page: a trace as one HTML file, in which a reader steps through the run, forward and back.

The file has all it needs: script, style and trace. A content security policy forbids everything else, so the page
asks nothing of a network, and runs no script but its own. Texts of the trace are data: JSON without `<`.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from minillm.trace.reader import Trace

FOLDER = Path(__file__).parent / "page"
VIEWS = ("text", "pass", "cache", "attention", "choice", "batch", "speculation")  # in the order of the tabs
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
<script type="application/json" id="trace">{data}</script>
<script>{script}</script>
</body>
</html>
"""
START = """
const trace = JSON.parse(document.getElementById("trace").textContent);
const model = { get: (name) => ({ trace, page: true })[name] };
minillmTrace.render({ model, el: document.body.appendChild(document.createElement("main")) });
"""


def page(trace: Trace) -> str:
    """Return the page of a trace.

    Raises:
        ValueError: it would be larger than 2 MB.
    """
    style, start = (FOLDER / "style.css").read_text(encoding="utf-8"), script() + START
    text = TEMPLATE.format(
        policy=f"default-src 'none'; script-src {_hash(start)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'",
        title=html.escape(_title(trace)),
        style=style,
        data=_data(trace),
        script=start,
    )
    if len(text.encode()) > LARGEST_PAGE:
        raise ValueError("too large")
    return text


def script() -> str:
    """Return the script: one expression, whose views see the helpers but not each other."""
    views = [
        f"{{\n{(FOLDER / 'views' / f'{name}.js').read_text(encoding='utf-8')}}}\n"
        for name in VIEWS
        if (FOLDER / "views" / f"{name}.js").exists()
    ]
    parts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("elements", "reducer", "shell")]
    return "\n".join(
        [
            "const minillmTrace = (() => {",
            '"use strict";',
            "const views = {};",
            *parts,
            *views,
            "return { render };",
            "})();",
        ]
    )


def content(trace: Trace) -> dict[str, Any]:
    """Return what the page's script is given."""
    try:
        from minillm.trace.words import sentences

        words = sentences(trace)
    except ImportError:
        words = []
    return {"header": trace.header, "lines": trace.lines, "sentences": words}


def _data(trace: Trace) -> str:
    """Return the trace as JSON that ends no element: `<` occurs only in texts, where it can be escaped."""
    return json.dumps(content(trace), separators=(",", ":")).replace("<", "\\u003c")


def _title(trace: Trace) -> str:
    return "A run of " + trace.states.models[0]["name"]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
