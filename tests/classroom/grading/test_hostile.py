"""Hostile submissions, graded together as one class: none gets a point it should not, nor changes another's marks."""

import io
import os
import stat
import sys
import time
import tracemalloc
import zipfile

import pytest
from hostile import ATTACKS, HEAD
from made_class import SOFTMAX

from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.grading import staging
from minillm.classroom.grading.contents import (
    DEEPEST_ARCHIVE,
    MOST_ARCHIVES,
    MOST_ENTRIES,
    Contents,
    Document,
    RefusedError,
    read_contents,
)
from minillm.classroom.grading.course_file import read_course
from minillm.classroom.grading.grade import grade_class
from minillm.classroom.grading.staging import stage
from minillm.classroom.grading.submissions import find_submissions
from minillm.classroom.worker import start

SHADOWS = ("numpy.py", "json.py", "conftest.py", "sitecustomize.py", "pytest.ini", "evil.pth")  # groups 13 and 14
HONEST = ("!first", "~last")  # they sort before and after all attacks


def grade(folder, out):
    out.mkdir()
    course = read_course(None, "softmax")
    found = grade_class(find_submissions(folder), course, 1, out, 2, "L0", lambda result, done: None)
    return {result.learner: result for result in found}


def write(folder, name, text):
    (folder / name).mkdir(parents=True)
    (folder / name / "03_softmax.py").write_text(text, encoding="utf-8")


def contents_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def by_heart():
    """The results of the fixed cases, as somebody could copy them from the shown messages."""
    cases = [(inputs["scores"], SOFTMAX.expected(inputs)) for inputs in SOFTMAX.cases()]
    pairs = ", ".join(f"({x.shape}, {x.tobytes()!r}): np.array({y.tolist()!r})" for x, y in cases)
    others = "np.full(scores.shape, 1 / scores.shape[-1])"  # each row sums to 1: a property of all right results
    return f"{HEAD}def softmax(scores):\n    return {{{pairs}}}.get((scores.shape, scores.tobytes()), {others})\n"


def classed(tmp_path, attacks):
    folder = tmp_path / "submissions"
    for name in HONEST:
        write(folder, name, SOFTMAX.solution)
    for name, source in attacks.items():
        write(folder, name, source)
    before, files = contents_of(folder), set(os.listdir("/tmp"))
    results = grade(folder, tmp_path / "out")
    assert contents_of(folder) == before
    assert "evil" not in set(os.listdir("/tmp")) - files
    assert [results[name].points for name in HONEST] == [1.0, 1.0]
    return results


def check(results, attacks):
    """Every attack has its rows, its outcome and a reason, and the points that it should have."""
    wrong = []
    for name, (_, outcomes) in attacks.items():
        rows = results[name].rows
        expected = 1.0 if outcomes == {"passed"} else 0.0
        if len(rows) != 3 or rows[0].outcome not in outcomes or results[name].points != expected:
            wrong.append((name, results[name].points, rows))
        assert rows[0].passed or rows[0].message, name
    assert wrong == []


QUICK = (
    "exit at import", "_exit in call", "fork", "lying subclass", "constant that has the properties",
    "wrong from the tenth call",
)  # fmt: skip


def test_a_few_attacks_of_each_kind(tmp_path):
    attacks = {name: ATTACKS[name] for name in QUICK}
    check(classed(tmp_path, {name: source for name, (source, _) in attacks.items()}), attacks)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["L0", "L1"])
def test_all_attacks(tmp_path, level, monkeypatch):
    if level == "L0":
        monkeypatch.setattr(start, "_namespaces", tuple)
    elif start.isolation_level() != "L1":
        pytest.skip("this system does not allow namespaces")
    results = classed(tmp_path, {name: source for name, (source, _) in ATTACKS.items()})
    check(results, ATTACKS)
    assert {result.isolation for result in results.values()} == {level}


def test_the_fixed_cases_by_heart_are_worth_nothing(tmp_path):
    """All that a learner can see is right, and the hidden cases and properties are not."""
    results = classed(tmp_path, {"parrot": by_heart()})
    assert results["parrot"].points == 0
    fixed, rows = len(SOFTMAX.cases()), results["parrot"].rows
    assert rows[0].message.startswith(f"correct in {fixed} of ")


# What is handed in, rather than what it does: no code of these runs.


def notes_of(path):
    return read_contents(path).notes


def test_names_that_point_out_of_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../03_softmax.py", "/etc/03_softmax.py", "a/../../x.py", "C:\\x.py", "..\\x.py", "ok.py"):
            archive.writestr(name, "x = 1")
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    read = read_contents(tmp_path / "a.zip")
    assert [document.name for document in read.documents] == ["ok.py"]
    assert len(read.notes) == 6
    assert sum("points out of the folder" in note for note in read.notes) == 5
    assert list(tmp_path.iterdir()) == [tmp_path / "a.zip"]


def test_a_zip_bomb_is_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.py", bytes(30_000_000))
        archive.writestr("good.py", "x = 1")
    assert (tmp_path / "a.zip").stat().st_size < 300_000
    tracemalloc.start()
    read = read_contents(tmp_path / "a.zip")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000
    assert [(document.name, document.refused) for document in read.documents if document.data] == [("good.py", "")]
    assert read.notes == ("bomb.py: left out: larger than 1000000 bytes",)
    assert read.documents[0].refused == "larger than 1000000 bytes"


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_archives_within_folders_and_archives_are_read(tmp_path):
    """As Moodle's download has them: a folder for each learner, with the archive that was uploaded."""
    inner = zipped({"work/03_softmax.py": "x = 1", "__MACOSX/._03_softmax.py": "rubbish", "../out.py": ""})
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada/upload.ZIP").write_bytes(zipped({"deep/inner.zip": inner, "notes.txt": ""}))
    os.utime(tmp_path / "ada/upload.ZIP", (5, 5))
    read = read_contents(tmp_path / "ada")
    (document,) = read.documents
    assert (document.name, document.data) == ("upload.ZIP/deep/inner.zip/work/03_softmax.py", b"x = 1")
    assert document.changed == 5  # the folder's own time is that of the download
    assert len(read.notes) == 2  # out.py, notes.txt
    assert read_contents(tmp_path / "ada/upload.ZIP").documents[0].name == "deep/inner.zip/work/03_softmax.py"


def test_archives_within_archives_have_an_end(tmp_path):
    data = zipped({"a.py": "x = 1"})
    for _ in range(DEEPEST_ARCHIVE + 1):
        data = zipped({"again.zip": data})
    (tmp_path / "a.zip").write_bytes(data)
    read = read_contents(tmp_path / "a.zip")
    assert read.documents == ()
    assert "archives within each other" in read.notes[0]
    many = zipped({f"{number}.zip": zipped({"a.py": "x = 1"}) for number in range(MOST_ARCHIVES + 5)})
    (tmp_path / "b.zip").write_bytes(many)
    assert len(read_contents(tmp_path / "b.zip").documents) == MOST_ARCHIVES
    assert len(notes_of(tmp_path / "b.zip")) == 5


def test_the_bytes_of_archives_within_archives_count(tmp_path):
    bombs = {f"{number}.zip": bytes(19_000_000) for number in range(10)}
    (tmp_path / "a.zip").write_bytes(zipped(bombs | {"z.py": "x = 1"}))
    tracemalloc.start()
    read = read_contents(tmp_path / "a.zip")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 80_000_000
    assert sum("all files together" in note for note in read.notes) == 8
    assert [document.data for document in read.documents] == [b"x = 1"]


def test_a_file_that_is_too_large_is_refused_and_not_missing(tmp_path):
    solution = find_exercise("softmax").solution
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada/03_softmax.py").write_text(solution + "#" * 2_000_000)
    exercises = (find_exercise("softmax"),)
    staged, notes = stage(read_contents(tmp_path / "ada"), exercises)
    assert staged["03_softmax"].refused == "larger than 1000000 bytes"
    assert notes == ("03_softmax.py: left out: larger than 1000000 bytes",)
    (tmp_path / "ada/softmax (1).py").write_text(solution)  # another one that can be read counts
    staged, notes = stage(read_contents(tmp_path / "ada"), exercises)
    assert (staged["03_softmax"].name, staged["03_softmax"].source) == ("softmax (1).py", solution)


def test_each_text_is_searched_once_for_all_exercises(monkeypatch):
    """40 MB of empty lines took minutes when each exercise searched them again."""
    searched = []

    class Counting:
        def findall(self, text):
            searched.append(text)
            return [("softmax", ""), ("", "causal_mask")] if text else []

    monkeypatch.setattr(staging, "DEFINITION", Counting())
    files = tuple(Document(f"{number}.py", data) for number, data in enumerate((b"\n" * 9, b"", b"x")))
    staged, _ = stage(Contents(files), tuple(all_exercises()))
    assert sorted(staged) == ["03_softmax", "05_causal_mask"]
    assert sorted(searched) == ["", "\n" * 9, "x"]


def test_too_many_entries_and_too_deep(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(MOST_ENTRIES + 5):
            archive.writestr(f"{number}.py", "")
    read = read_contents(tmp_path / "a.zip")
    assert len(read.documents) == MOST_ENTRIES
    assert len(read.notes) == 1
    (tmp_path / "b" / "/".join("abcdefgh")).mkdir(parents=True)
    assert "folders deep" in notes_of(tmp_path / "b")[0]


def test_links_pipes_and_devices_are_not_opened(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    (folder / "link.py").symlink_to("/etc/passwd")
    (folder / "zero.py").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.py")
    (folder / "up").symlink_to(tmp_path)
    began = time.monotonic()
    read = read_contents(folder)
    assert read.documents == ()
    assert len(read.notes) == 4
    assert time.monotonic() - began < 60  # opening the pipe would wait for ever
    (tmp_path / "bob").symlink_to(folder)
    with pytest.raises(RefusedError, match="a link is not read"):
        read_contents(tmp_path / "bob")


@pytest.mark.parametrize("data", [b"", b"PK\5\6" + b"\0" * 18, b"PK\3\4rubbish", b"\xff" * 500, None])
def test_an_archive_that_is_damaged(tmp_path, data):
    if data is None:  # cut in the middle
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("03_softmax.py", "x = 1" * 100)
        data = (tmp_path / "a.zip").read_bytes()[:-30]
    (tmp_path / "a.zip").write_bytes(data)
    try:
        assert read_contents(tmp_path / "a.zip").documents == ()
    except RefusedError as problem:
        assert "\n" not in str(problem)


def test_a_class_of_odd_entries_has_a_row_for_each_check(tmp_path):
    """A refused archive, another format, a link, text in Latin-1, a binary file, an impossible name."""
    folder = tmp_path / "submissions"
    write(folder, "latin", "# -*- coding: latin-1 -*-\nname = 'x'\n" + SOFTMAX.solution)
    write(folder, "good", SOFTMAX.solution)
    (folder / "latin" / "03_softmax.py").write_bytes(b"# coding: latin-1\n# \xe9\n" + SOFTMAX.solution.encode())
    for name, data in {"rar.rar": b"Rar!", "zip.zip": b"no", "binary_03_softmax.py": b"\0\xff\xfe"}.items():
        (folder / name).write_bytes(data)
    (folder / "link").symlink_to("good")
    odd = "a\nb\x1b[2J" if sys.platform != "darwin" else "a\nb"
    write(folder, odd, SOFTMAX.solution)
    write(folder, "shadow", SOFTMAX.solution)
    for name in SHADOWS:
        (folder / "shadow" / name).write_text("raise SystemExit('never read')\n")
    results = grade(folder, tmp_path / "out")
    assert all(len(result.rows) == 3 for result in results.values())
    assert results["shadow"].notes[0] == "1 file of other kinds left out"  # evil.pth; pytest.ini was handed out
    assert len(results["shadow"].notes) == len(SHADOWS) - 1
    outcomes = {learner: result.rows[0].outcome for learner, result in results.items()}
    refused = dict.fromkeys(("rar", "zip", "binary", "link"), "refused")
    assert outcomes.items() >= {"good": "passed", "latin": "passed", "shadow": "passed", **refused}.items()
    assert len(results) == 8
    assert all("\n" not in learner and "\x1b" not in learner for learner in results)


def test_two_learners_whose_names_a_file_system_cannot_tell_apart(tmp_path):
    folder = tmp_path / "submissions"
    names = ["ada", "Ada", "a/b".replace("/", "∕"), "a b", "a_b"]
    for name in names:
        write(folder, name, "x = 1")
    found = find_submissions(folder)
    assert len(found) == len({one.file.casefold() for one in found}) == len(set(names))
    assert all(one.file.isascii() and "/" not in one.file for one in found)


def test_the_attacks_are_syntactically_what_they_say():
    """An attack that does not compile would pass its test for a wrong reason."""
    for name, (source, _) in ATTACKS.items():
        if name not in ("syntax error", "deep brackets"):
            compile(source, name, "exec")
    compile(by_heart(), "by heart", "exec")
