"""`minillm doctor`: what it finds on a machine that lacks something, and that it never fails itself."""

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minillm.evidence import machine
from minillm.support.shipped import PACKAGE


def found(check):
    return {finding.about: finding for finding in check()}


def test_it_is_ready_here_without_a_network_and_says_so_in_json(call, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None)  # a call of it fails
    monkeypatch.setattr(socket, "getaddrinfo", None)
    code, out, err = call("doctor", "--json")
    findings = {one["about"]: one for one in json.loads(out)["findings"]}
    assert (code, err) == (0, "")
    assert json.loads(out)["ready"] is True
    assert findings["answer"]["state"] == findings["bundled models"]["state"] == "ok"
    assert all(one["advice"] for one in findings.values() if one["state"] != "ok")


def test_what_is_missing_gives_status_1(call, monkeypatch):
    missing = machine.Finding("packages", machine.MISSING, "numpy is missing", "install it:", "pip install numpy")
    note = machine.Finding("load", machine.NOTE, "busy", "wait")
    monkeypatch.setattr(machine, "CHECKS", {"packages": lambda: iter([missing, note])})
    code, out, _ = call("doctor")
    assert code == 1
    assert "MISSING packages        numpy is missing\n" in out
    assert "\n                        pip install numpy\n" in out
    assert out.endswith("Not ready: 1 thing missing, 1 note.\n")


@pytest.mark.parametrize("problem", [RuntimeError("a\nb"), OSError(28, "No space left"), ValueError("bad")])
def test_a_check_that_fails_is_a_finding(problem):
    def failing():
        raise problem
        yield

    (finding,) = machine.examine({"disk": failing})
    assert (finding.about, finding.state) == ("disk", "missing")
    assert "cannot be checked" in finding.found and "\n" not in finding.found


def test_the_packages_are_those_of_pyproject():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert sorted(f"{name}>={oldest}" for name, oldest in machine.NEEDED.values()) == sorted(project["dependencies"])
    assert set(machine.EXTRAS) < set(project["optional-dependencies"])
    assert project["requires-python"] == f">={machine.OLDEST_PYTHON[0]}.{machine.OLDEST_PYTHON[1]}"


def test_packages_that_are_missing_or_old(monkeypatch):
    monkeypatch.setattr(machine, "NEEDED", {"no_such": ("no-such", "1"), "numpy": ("numpy", "99.1")})
    finding = found(machine.look_at_python)["packages"]
    assert finding.state == "missing"
    assert finding.found.startswith("no-such is missing, numpy is 2.")
    assert finding.found.endswith(", older than 99.1")
    assert finding.command.startswith(f"{sys.executable} -m pip install -e ")


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (99, 0))
    assert found(machine.look_at_python)["Python"].state == "missing"


def test_weights_that_were_changed_or_removed(tmp_path, monkeypatch):
    (tmp_path / "story").mkdir()
    (tmp_path / "story/config.json").write_text("{}")
    monkeypatch.setattr(machine, "shipped", lambda name: tmp_path)
    finding = found(machine.look_at_weights)["bundled models"]
    assert finding.state == "missing"
    assert f"{tmp_path}/story/config.json was changed or is damaged" in finding.found
    assert "story-draft/model.safetensors" in finding.found


@pytest.mark.parametrize("limit, processors", [("max 100000", None), ("50000 100000", 0.5), ("nonsense", None)])
def test_the_processors_of_a_container(limit, processors, tmp_path, monkeypatch):
    free = machine.usable_processors()
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(machine, "CGROUP_LIMIT", tmp_path / "cpu.max")
    assert machine.usable_processors() == (free if processors is None else processors)


def test_more_threads_than_processors(monkeypatch):
    monkeypatch.setattr(machine, "usable_processors", lambda: 2.0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    finding = found(machine.look_at_threads)["threads"]
    assert finding.state == "note"
    assert "64 threads on 2 processors (OPENBLAS_NUM_THREADS=64" in finding.found
    assert finding.command == "export OMP_NUM_THREADS=2"


@pytest.mark.parametrize("load, state", [(0.5, "ok"), (7.0, "note")])
def test_a_busy_machine(load, state, monkeypatch):
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(machine, "usable_processors", lambda: 2.0)
    assert found(machine.look_at_threads)["load"].state == state


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "file/cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    findings = found(machine.look_at_folders)
    assert (findings["cache"].state, findings["progress"].state) == ("note", "note")
    assert findings["smollm2"].state == "absent"


def test_a_full_disk_and_a_damaged_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: machine.shutil._ntuple_diskusage(10, 9, 1))
    (tmp_path / "models/smollm2").mkdir(parents=True)
    findings = found(machine.look_at_folders)
    assert "set MINILLM_CACHE" in findings["cache"].advice
    assert findings["smollm2"].found.startswith("damaged: ")
    assert list(tmp_path.iterdir()) == [tmp_path / "models"]  # nothing is left behind


def test_a_terminal_without_utf_8(monkeypatch):
    monkeypatch.setattr(machine, "can_print", lambda text: False)
    assert found(machine.look_at_terminal)["terminal"].command == "export PYTHONUTF8=1"


def test_a_wrong_answer(monkeypatch):
    monkeypatch.setattr(machine, "STORY_HASH", "0" * 64)
    assert found(machine.look_at_answer)["answer"].state == "missing"


@pytest.mark.parametrize("arguments, code", [(["doctor"], 1), (["models"], 2)])
def test_without_numpy_there_is_one_line(arguments, code):
    program = "import sys; sys.modules['numpy'] = None; from _minillm_command import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(PACKAGE).parent)
    assert done.returncode == code
    assert done.stderr.startswith("minillm: the package numpy is missing; in minillm's source folder: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "code, state, words",
    [
        ("", "ok", "half: a purpose"), ("import no_such_library", "note", "No module named 'no_such_library'"),
        ("import os; os._exit(3)", "note", "status 3"),
    ],
)  # fmt: skip
def test_an_extra_that_is_there_but_cannot_be_imported(code, state, words, tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(machine, "EXTRAS", {"plot": ("half", "a purpose")})
    (finding,) = machine.look_at_extras()
    assert (finding.about, finding.state) == ("extra plot", state)
    assert words in finding.found
