"""Classroom 50's entry: grade the learner's checkout, which is the current folder.

It writes result.json there, and release-body.md with the feedback, which becomes the text of the learner's release.

An exit status other than 0 means that the grader failed. Classroom 50 then records an error. A missing grader must not
end as 0 of 0 points, because that looks like a pass.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BUNDLE = Path(os.environ.get("CLASSROOM50_BUNDLE_DIR") or Path(__file__).resolve().parent)
NEEDED = ("package.zip", "course.toml", "requirements.txt")
RESULT, FEEDBACK = Path("result.json"), Path("release-body.md")
LONGEST = 100_000  # characters of the text of a release


def fail(message: str) -> int:
    """Report that the grader failed, and return the exit status."""
    print(f"::error::the grader failed, this is not a grade: {message}", file=sys.stderr)
    return 1


def grade(folder: Path) -> None:
    """Unpack minillm into a folder, and grade with it."""
    shutil.unpack_archive(BUNDLE / "package.zip", folder / "package")
    packages = folder / "packages"
    if not all(importlib.util.find_spec(name) for name in ("numpy", "rich", "jaxtyping")):
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
        subprocess.run([*install, "-r", str(BUNDLE / "requirements.txt")], check=True)
    # In a container the checkout belongs to another user, whose folder git does not read without being told.
    log = ["git", "-c", "safe.directory=*", "log", "-1", "--format=%cI"]
    time = subprocess.run(log, capture_output=True, text=True, check=True).stdout
    paths = os.pathsep.join([str(folder / "package"), str(packages)])
    command = [sys.executable, "-P", "-m", "minillm", "grade", ".", "--one", os.environ.get("USERNAME") or "learner"]
    command += ["--handed-in", time.strip(), "--course", str(BUNDLE / "course.toml"), "--out", str(folder / "graded")]
    subprocess.run([*command, "--classroom50", str(RESULT)], env={**os.environ, "PYTHONPATH": paths}, check=True)
    (page,) = (folder / "graded/learners").glob("*.md")
    FEEDBACK.write_text(page.read_text(encoding="utf-8")[:LONGEST], encoding="utf-8")


def main() -> int:
    """Grade, and make sure that there is a result with points."""
    for file in (RESULT, FEEDBACK):
        file.unlink(missing_ok=True)  # a learner may have handed one in
    missing = [name for name in NEEDED if not (BUNDLE / name).is_file()]
    if missing:
        return fail(f"{', '.join(missing)} is missing in {BUNDLE}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            grade(Path(folder))
        result = json.loads(RESULT.read_text(encoding="utf-8"))
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        return fail(str(problem))
    return 0 if result["max-score"] > 0 else fail("0 points are planned")


if __name__ == "__main__":
    sys.exit(main())
