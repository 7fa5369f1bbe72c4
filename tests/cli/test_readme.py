"""Every shell command of the README and the pages is run, or is listed here with the reason why it is not.

A block of `sh` is run as it stands, in a folder and a shell that all blocks of its section share. A block of `text`
after it is what it prints. Times may differ, and `...` stands for anything. `python tests/cli/test_readme.py README.md`
prints what the blocks of a page really print, to be copied into it.
"""

import os
import re
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for glob in ("*.md", "docs/**/*.md", "lessons/*.md", "weights/*/*.md")
    for path in ROOT.glob(glob)
)
NOT_RUN = {  # how a command begins, and why it is not run
    "git clone ": "network",
    "python3 -m venv ": "installs: .ci/run runs it",
    "source ": "installs",
    "pip install ": "installs",
    "nox": "the tests themselves",
    "pytest tests/": "the tests themselves",
    "pytest --minillm-engine my_engine.py": "needs an engine: tests/classroom/test_pytest_plugin.py runs such files",
    "python minillm_failure_1.py": "needs a failure: tests/verification/test_search.py runs such files",
    "python -m pdb ": "waits for a person",
    "pytest -k ": "fails until it is written: tests/classroom/test_pytest_plugin.py runs it",
    "minillm generate --model smollm2 ": "downloads",
    "minillm chat ": "downloads",
    "minillm bench ": "minutes",
    "minillm bisect HEAD": "needs a git checkout: tests/cli/test_bisect_command.py runs it",
    "minillm papers ": "a minute",
    "minillm course check ": "40 s: tests/classroom/test_course.py runs it",
    "minillm lesson 3 --notebook ": "needs the extra `notebook`: tests/notebooks runs it",
    'minillm generate "Once upon a time" --with ': "needs exercises that are passed",
    'minillm generate "The capital of France is" --backend cupy ': "needs a GPU",
    "mpiexec ": "needs the extra `mpi`: tests/parallel runs such commands",
    "OPENBLAS_NUM_THREADS=1 mpiexec ": "needs the extra `mpi`",
    "python scripts/": "hours, or a GPU",
}
SAID = ("minute", "hour", "downloads")  # a page says beforehand what a command costs that is not run because of it
FAILS = ("minillm exercise check", "pytest --minillm-engine ", "minillm bisect ")  # exit with status 1, on purpose
WRITE = "# now write the function in 01_naive_decode.py"  # after this line the test does as a learner
SHELL = f"""set -e
minillm() {{ "{sys.executable}" -m minillm "$@"; }}
pytest() {{ "{sys.executable}" -m pytest "$@"; }}
"""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
MARK = "===== the end of a block ====="
TIME = re.compile(r"\d[\d.,]*(?= (ms|s|tokens/s)\b)|(?<= in )[\d.]+(?=s$)", re.MULTILINE)


class Block(NamedTuple):
    """A block of shell commands, and what it prints; `...` if the page does not say."""

    page: str
    section: str
    code: str
    output: str


def blocks(page):
    """List all `sh` blocks of a page, in order."""
    text, found = (ROOT / page).read_text(encoding="utf-8"), []
    for match in re.finditer(r"^```sh\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", text, re.DOTALL | re.MULTILINE):
        section = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text[: match.start()], flags=re.M | re.S), re.M)
        found.append(Block(page, section[-1], match[1], match[2] or "..."))
    return found


SECTIONS = {
    f"{page}: {section}": list(group)
    for page in PAGES
    for section, group in groupby(blocks(page), key=lambda block: block.section)
}


def commands(code):
    """Cut a block into its commands. One may go on in the next line, after a backslash."""
    return [command for command in re.split(r"(?<!\\)\n", code) if command]


def reason(command):
    """Say why this command is not run; None if it is."""
    return next((why for begins, why in NOT_RUN.items() if command.startswith(begins)), None)


def script(block, wrong_answer):
    """The commands of a block that are run."""
    lines = []
    for command in commands(block.code):
        if reason(command) is None:
            allowed = " || [ $? = 1 ]" if command.startswith(FAILS) else ""
            lines.append(re.sub(r"  +#.*", "", command) + allowed)
        if command.endswith(WRITE):
            lines.append(f"cp '{wrong_answer}' 01_naive_decode.py")
    return "\n".join(lines)


def printed(section, folder):
    """Run the blocks of a section; list what each prints."""
    wrong_answer = folder / "wrong.py"
    wrong_answer.write_text(f"{(ROOT / 'exercises/01_naive_decode/bugs.py').read_text()}\nnaive_decode = eos_ignored\n")
    program = SHELL + "".join(f"{script(block, wrong_answer)}\necho '{MARK}'\n" for block in section)
    done = subprocess.run(
        ["bash", "-c", program],
        cwd=folder,
        env={
            **os.environ,
            **ENVIRONMENT,
            "MINILLM_CACHE": str(folder / "cache"),
            "XDG_DATA_HOME": str(folder / "data"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(MARK + "\n")[: len(section)]


def plain(text):
    """Without what may differ: times, and the width of columns."""
    lines = [" ".join(line.split()) for line in TIME.sub("#", text).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def agrees(output, told):
    """Whether an output is what the page tells, in which `...` stands for anything, a line or more."""
    lines = ["(?:.*\n)*" if line == "..." else f"{re.escape(line)}\n" for line in plain(told).splitlines()]
    return re.fullmatch("".join(lines).replace(r"\.\.\.", ".*"), plain(output)) is not None


QUICK = ("README.md: minillm", "README.md: Use it")  # seconds; the others are slow tests


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SECTIONS],
)
def test_every_command_of_a_page_does_what_the_page_says(name, tmp_path):
    section = SECTIONS[name]
    for block, output in zip(section, printed(section, tmp_path), strict=True):
        assert agrees(output, block.output), f"{block.code}prints\n{output}the page says\n{block.output}"


def test_what_takes_minutes_or_downloads_says_so_beforehand():
    for block in (block for section in SECTIONS.values() for block in section):
        for command in commands(block.code):
            why = reason(command) or ""
            if any(word in why for word in SAID):
                text = (ROOT / block.page).read_text()
                around = text[text.index(block.code) - 400 : text.index(block.code)] + block.code
                assert any(word in around for word in SAID), f"{block.page}: {command}"


def test_nothing_is_listed_that_no_page_has():
    every = [command for section in SECTIONS.values() for block in section for command in commands(block.code)]
    for begins in NOT_RUN:
        assert any(command.startswith(begins) for command in every), begins


def test_a_wrong_output_is_found():
    told = "...\n time  8.2 ms\n...\nlast ... line\n"
    assert agrees("first\nsecond\n time   9,131.5 ms   \nlast line of all\n", told) is False
    assert agrees("first\nsecond\n time   9,131.5 ms   \nlast\nlast short line\n", told)
    assert agrees("8.2 ms", told) is False and agrees("x\ny\n", "...\nz\n") is False


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            assert target.resolve().is_relative_to(ROOT) and target.exists(), link
            assert not anchor or anchor in anchors(target), link


if __name__ == "__main__":
    for name, section in SECTIONS.items():
        if section[0].page in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                for block, output in zip(section, printed(section, Path(folder)), strict=True):
                    print(f"===== {name}\n{block.code}-----\n{output}")
