"""Plant a bug into an adapter, or into a function of an installed package, while a test runs."""

import importlib
import inspect
import textwrap
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES

BASES = {"transformers_decoders": "transformers_llama", "llamacpp_decoders": "llamacpp"}  # whose functions they have


def search(folder, adapter, right, wrong, engine, name, **examples):
    """Search with an adapter in which, or in whose base, a text is another one. The first failing example is enough."""
    base = BASES.get(adapter, adapter)
    places = f"minillm.verification.adapters import {base}", f"minillm.verification.adapters.{base} import"
    texts = {one: Path(adapters.__path__[0], f"{one}.py").read_text() for one in (base, adapter)}
    if right and sum(text.count(right) for text in texts.values()) != 1:
        raise ValueError(right)  # not an AssertionError: that would count as found
    for one, text in texts.items():
        neighbour = text.replace(f"from {places[0]}", f"import {base}").replace(places[1], f"{base} import")
        (folder / f"{one}.py").write_text(neighbour.replace(right, wrong) if right else neighbour)
    engines = load_engines(folder / f"{adapter}.py", InProcess(folder / f"{adapter}.py"))
    [loaded] = [one for one in engines if one.adapter.name == engine]
    try:
        loaded.findings.clear()
        with patch.object(findings, "SHRINK_SECONDS", 0.0):
            PROPERTIES[name].search(loaded.engines, **examples)
    finally:
        loaded.close()


def found(where):
    """What has the function with this dotted name, a module or a class, and its name there."""
    owner, name = where.rsplit(".", 1)
    with suppress(ModuleNotFoundError):
        return importlib.import_module(owner), name
    module, class_name = owner.rsplit(".", 1)
    return getattr(importlib.import_module(module), class_name), name


def with_bug(function, right, wrong):
    """The function with another text, in its own module."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, right
    names = {}
    exec(source.replace(right, wrong), inspect.unwrap(function).__globals__, names)
    return names[function.__name__]
