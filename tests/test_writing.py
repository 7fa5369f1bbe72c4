"""The banned phrases of docs/writing.md stand in no docstring, comment, message or page; no docstring is empty talk.

`python tests/test_writing.py` prints every place, then a count for each file; names of files or folders limit it.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from minillm.evidence.claims import all_claims

ROOT = Path(__file__).parents[1]
PYTHON = ("minillm/**/*.py", "lessons/**/*.py", "exercises/**/*.py")
PAGES = ("*.md", "docs/**/*.md", "lessons/*.md", "weights/*/*.md")
SAYS_NOTHING = re.compile(r"\s*(Describe the command|See \S+|All|Itself)\.\s*")
NO_VERBS = frozenset("The A An How Of No Every Its One So What Where This Nothing As At In More These".split())
GENERATED = re.compile(r"<!-- output of .*?<!-- end of output -->", re.DOTALL)


def pattern(phrase):
    """Match a phrase as the page writes it: whole words, any white space between them; `(s)` is an optional s."""
    words = r"\s+".join(re.escape(word).replace(r"\(s\)", "s?") for word in phrase.split())
    return re.compile(rf"(?<![\w-]){words}(?![\w-])", re.IGNORECASE)


@cache
def banned():
    """Read the last table of the page: (phrase, its pattern, the phrases in which it is fine)."""
    table = (ROOT / "docs" / "writing.md").read_text().split("## Phrases that we do not use")[1]
    rows = re.findall(r"^\| `(.+?)` \|.*?\|(.*)\|$", table, re.MULTILINE)
    return [(phrase, pattern(phrase), re.findall("`(.+?)`", fine)) for phrase, fine in rows]


@cache
def any_banned():
    """Match any of the phrases in lower case: one search tells that a text has none, as most have.

    Each alternative begins with a letter, so the search skips what begins with another one.
    """
    begin, end = r"(?<![\w-])", r"(?![\w-])"
    phrases = [searched.pattern.removeprefix(begin).removesuffix(end) for _, searched, _ in banned()]
    return re.compile(f"(?:{'|'.join(phrases)}){end}")


@cache
def quotes():
    """The article's own sentences, as the ledger of claims quotes them."""
    return frozenset(claim.quote for claim in all_claims())


def find(text):
    """Yield (line, phrase) for each banned phrase of a text; lines count from 0. Code in backticks is not prose."""
    text = re.sub(r"`[^`\n]+`", "`", text)
    if not any_banned().search(text.lower()):
        return
    for phrase, searched, fine in banned():
        allowed = [match.span() for one in fine for match in pattern(one).finditer(text)]
        for match in searched.finditer(text):
            if not any(start <= match.start() and match.end() <= end for start, end in allowed):
                yield text.count("\n", 0, match.start()), phrase


def comments(source):
    """Yield (line, text) for each comment; one that goes on in the next line is one text."""
    begun, lines = 0, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, text = token.start[0], token.string.lstrip("#")
            if lines and line != begun + len(lines):
                yield begun, "\n".join(lines)
                lines = []
            if not lines:
                begun = line
            lines.append(text)
    yield begun, "\n".join(lines)


def may_be_wrong(source):
    """Whether a banned phrase or an empty docstring may be in a program: most have none, and need no parsing."""
    words = re.sub(r"\\[a-z]|\b[rbfu]{1,2}(?=[\"'])|[^\w.,;-]", " ", source.lower())  # escapes, prefixes, quotes, signs
    return any_banned().search(words) or re.search(rf'"{SAYS_NOTHING.pattern}"', source)


def in_python(source):
    """Yield (line, what is wrong) for a program: its comments, its strings (docstrings too), and empty docstrings."""
    if not may_be_wrong(source):
        return
    for line, text in comments(source):
        yield from ((line + below, phrase) for below, phrase in find(text))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in quotes():
            yield from ((node.lineno + below, phrase) for below, phrase in find(node.value))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            docstring = ast.get_docstring(node) or ""
            if SAYS_NOTHING.fullmatch(docstring):
                yield node.body[0].lineno, docstring


def in_page(name, text):
    """Yield (line, phrase) for a page."""
    text = GENERATED.sub(lambda match: "\n" * match[0].count("\n"), text)
    if name == "docs/writing.md":  # its tables show what not to write
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    for quote in quotes():
        text = text.replace(quote, "")
    yield from ((line + 1, phrase) for line, phrase in find(text))


def in_file(path):
    """List (line, what is wrong) for one file, in order."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    return sorted(in_python(text) if path.suffix == ".py" else in_page(name, text))


def files():
    """All files that are looked at."""
    return sorted({path for glob in PYTHON + PAGES for path in ROOT.glob(glob)})


def report(paths):
    """Say where something is wrong, a line each, then how often in each file; the empty text if all is well."""
    places = [(path.relative_to(ROOT).as_posix(), *place) for path in paths for place in in_file(path)]
    counts = Counter(name for name, _, _ in places).most_common()
    return "\n".join(
        [f"{name}:{line}: {phrase!r}" for name, line, phrase in places]
        + [f"{count:4} {name}" for name, count in counts]
    )


@pytest.mark.parametrize("part", ["minillm", "lessons", "exercises", "pages"])
def test_no_banned_phrase(part):
    chosen = [path for path in files() if (path.suffix == ".md") == (part == "pages")]
    found = report([path for path in chosen if part == "pages" or path.relative_to(ROOT).parts[0] == part])
    assert not found, f"see docs/writing.md\n{found}"


PLANTED = '''"""Take room for so
many tokens; besides, there is no room, and it is no longer here."""

beside = 3  # a comment that goes on
# beside the next line
def f(x):
    """See DraftLength."""
    raise ValueError(f"{x} is " "no number" f", `whatever` it is {beside}")
'''


def test_planted_phrases_are_found():
    found = sorted(in_python(PLANTED))
    assert found == [(1, "so many"), (5, "beside"), (7, "See DraftLength."), (8, "is no")]


@pytest.mark.parametrize(
    "source",
    ["# so\n#  many", "x = 'is ' 'no number'", "x = 'is ' f'no number'", r"x = 'there are\nno, so\nmany'",
     "x = 'is another.'", "x = f'so many'", 'def f():\n    """See f."""', '"""All."""'],
)  # fmt: skip
def test_what_is_wrong_is_found_however_it_is_written(source):
    assert list(in_python(source))


def test_a_page_is_searched_but_for_its_exceptions():
    quote = max(quotes(), key=len)
    generated = "<!-- output of x -->\nanew\n<!-- end of output -->"
    page = f"Forget\nthe rest. {quote} There are\nno tests.\n| so many |\n{generated}\nanew"
    assert list(in_page("docs/gpu.md", page)) == [(4, "so many"), (8, "anew"), (1, "forget(s)")]
    assert list(in_page("docs/writing.md", page)) == [(8, "anew"), (1, "forget(s)")]


def test_the_page_and_the_test_agree():
    """Every phrase is read from the page, is found where it stands alone, and not where it is fine."""
    assert len(banned()) >= 25
    for phrase, _, fine in banned():
        assert phrase in {found for _, found in find(f"x {phrase.replace('(s)', '')} x")}
        assert all(phrase not in {found for _, found in find(f"x {one} x")} for one in fine)


def first_words():
    """Yield (place, first word) of the docstring of each function that is not a property."""
    for path in sorted((ROOT / "minillm").rglob("*.py")):
        if path.name.endswith("_properties.py"):  # docstrings are sentences that must hold
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                decorators = {ast.unparse(one) for one in node.decorator_list}
                if not decorators & {"property", "cached_property"}:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text.split()[0]


def test_docstrings_of_functions_begin_with_a_verb():
    found = dict(first_words())
    assert len(found) > 1000
    assert [f"{place}: {word}" for place, word in found.items() if word in NO_VERBS] == []


if __name__ == "__main__":
    named = [Path(name).resolve() for name in sys.argv[1:]]
    chosen = [path for path in files() if not named or any(path.is_relative_to(name) for name in named)]
    problems = report(chosen)
    print(problems or "nothing found")
    sys.exit(bool(problems))
