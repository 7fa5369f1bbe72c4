"""The stand-in engine, and a tiny model's folder."""

import sys
from pathlib import Path

import pytest
from model_folder import save_model_folder

from minillm.benchmark.engine_process import EngineProcess

STAND_IN = str(Path(__file__).with_name("stand_in.py"))


@pytest.fixture(scope="module")
def stand_in():
    """Start stand-ins; whatever still runs at the end of the module is ended."""
    running = []

    def start(behaviour, name="stand-in", timeout=20.0, threads=1):
        running.append(EngineProcess(name, [sys.executable, STAND_IN, behaviour], threads, timeout))
        return running[-1]

    yield start
    for engine in running:
        engine.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return str(save_model_folder(tmp_path_factory.mktemp("tiny")))
