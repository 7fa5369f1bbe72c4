"""The engine's side of a test: load a file with engines, keep their caches, and answer requests for calls.

It runs in the process of the properties (a fast engine, a test), or in a process of its own (`engine_process.py`). It
makes no verdict. A request is a dict:

    {"do": "begin", "engine": name, "config": ...}    make or take an engine, drop all caches -> {}
    {"do": "begin", ..., "model": name}               make it with the config and the weights of this model
    {"do": "call", "name": ..., "arguments": [...], "returns": ..., "numbers": [...]}
                                                      -> {"value": ...}, {"refused": ...} or {"error": ..., ...}

A returned cache, list of caches or state is kept under the given numbers. The requests of a later call name it by a
`Handle`, and `"drop": [numbers]` of any request deletes it. An engine with `release` may have a pool of its own. So a
cache is released when it is deleted, and at the end of its example.
"""

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minillm.classroom.worker.user_module import user_module
from minillm.config import ModelConfig, RopeParameters
from minillm.loading import open_checkpoint
from minillm.loading.build import weights_by_name
from minillm.support.printable import one_line
from minillm.verification.handles import Handle, replaced
from minillm.verification.models import CONFIGS, random_weights

FUNCTIONS = (
    "new_cache", "prefill", "decode", "batch", "truncate", "fork", "copy_prefix", "remove", "shift", "keep", "reorder",
    "save", "restore", "release", "generate", "stream", "sample",
)  # fmt: skip
SETTINGS = (
    "VOCAB_SIZE", "TOLERANCE", "DTYPE", "REFERENCE", "MODEL", "OPTIONS", "WINDOW", "PAGE", "FEATURES", "CALL_SECONDS",
)  # fmt: skip
MAKERS = ("new_cache", "fork", "copy_prefix", "reorder", "restore")  # functions that return caches
MOST_NUMBERS = 1 << 25  # in a returned array
MOST_PIECES = 100_000  # that `stream` may yield


class Session:
    """The engines of one file, and the caches of the example that runs.

    Attributes:
        described: for each engine, what the side of the properties must know: its name, its functions, its settings.
    """

    def __init__(self, file: Path) -> None:
        """Load the file. It is a module, which may import its neighbours, until the session is closed.

        Raises:
            ValueError: if the file does not load.
        """
        with ExitStack() as stack:
            try:
                where = file.absolute()
                source = user_module(file.read_bytes(), file.stem, str(where), str(where.parent))
                module = stack.enter_context(source)
                self._engines = _named_engines(module, file)
                listed = {"listed": hasattr(module, "engines")}
                self.described = [_described(name, found) | listed for name, found in self._engines.items()]
            except (Exception, SystemExit) as problem:  # SystemExit with code 0 would look like a pass
                told = one_line(f"{type(problem).__name__}: {problem}")
                raise ValueError(f"{file} does not load: {told}") from problem
            self.close = stack.pop_all().close
        self._file = str(where)
        self._engine: Any = None
        self._kept: dict[int, Any] = {}
        self._used: dict[int, Any] = {}  # by their ids, the caches to release

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        for number in request.get("drop", ()):
            self._release([self._kept.pop(number, None)])
        try:
            return self._begin(**request) if request["do"] == "begin" else {"value": self._call(**request)}
        except NotImplementedError as problem:  # the engine says that it cannot do this: not a wrong result
            return {"refused": one_line(str(problem))}
        except (Exception, SystemExit) as problem:
            return self.failure(problem)

    def failure(self, problem: BaseException) -> dict[str, Any]:
        """Describe an exception: its type, its message, and the last line of the file or of its neighbours."""
        place = ""
        for frame in traceback.extract_tb(problem.__traceback__):
            if frame.filename == self._file:
                place = f"line {frame.lineno}"
            elif self._is_neighbour(Path(frame.filename)):
                place = f"{Path(frame.filename).name}, line {frame.lineno}"
        return {"error": type(problem).__name__, "message": _text(problem), "place": place}

    def _is_neighbour(self, path: Path) -> bool:
        """Return whether a file is in the folder of the engine's file, and not of an installed package."""
        return path.is_relative_to(Path(self._file).parent) and "site-packages" not in path.parts

    def _begin(self, engine: str, config: dict[str, Any] | None, model: str | None = None, **_: Any) -> dict[str, Any]:
        self._release(list(self._used.values()))
        self._used.clear()
        self._kept.clear()
        found = self._engines[engine]
        if model is not None:
            checkpoint = open_checkpoint(model)
            self._engine = found.make_engine(checkpoint.config, dict(weights_by_name(checkpoint)))
        else:
            self._engine = found if config is None else _make(found, _config(config))
        return {}

    def _call(self, name: str, arguments: list[Any], returns: str | None, numbers: list[int], **_: Any) -> Any:
        function = getattr(self._engine, name)
        meant = replaced(arguments, self._meant)
        result = function(*meant)
        if returns in ("cache", "caches"):
            result = [result] if returns == "cache" else list(result)
        if hasattr(self._engine, "release"):
            self._follow(name, meant, result)
        if returns in ("cache", "caches"):
            return self._keep(result, numbers)
        if returns in ("logits", "rows"):
            return _numbers(sent(result))
        return None if returns is None else sent(result)

    def _follow(self, name: str, arguments: list[Any], result: Any) -> None:
        """Keep account of the caches to release."""
        gone = {"release": arguments[:1], "reorder": arguments[0] if name == "reorder" else []}
        for cache in gone.get(name, []):
            self._used.pop(id(cache), None)
        if name in MAKERS:
            self._used.update((id(cache), cache) for cache in result)

    def _release(self, caches: list[Any]) -> None:
        """Release caches that are still in use."""
        for cache in caches:
            if self._used.pop(id(cache), None) is not None:
                with suppress(Exception):  # a property tries release, and reports what it raises
                    self._engine.release(cache)

    def _keep(self, results: list[Any], numbers: list[int]) -> None:
        if len(results) != len(numbers):
            raise ValueError(f"returned {len(results)} caches; expected {len(numbers)}")
        self._kept.update(zip(numbers, results, strict=True))

    def _meant(self, value: Any) -> Any:
        return self._kept[value.number] if isinstance(value, Handle) else value


def sent(result: Any) -> Any:
    """Return the result of a call in types that `wire.pack` sends. Tensors become arrays, generators become lists."""
    if type(result) in (list, tuple):
        return type(result)(map(sent, result))
    if isinstance(result, dict):
        return {key: sent(value) for key, value in result.items()}
    if isinstance(result, Iterator):
        return [sent(piece) for piece in islice(result, MOST_PIECES)]
    if isinstance(result, np.generic):
        return result.item()
    if hasattr(result, "detach"):  # a tensor of torch: NumPy has no bfloat16, and no memory of a GPU
        result = result.detach().cpu()
        result = (result.double() if result.is_floating_point() else result).numpy()
    if not isinstance(result, np.ndarray) and hasattr(result, "__array__"):
        result = np.asarray(result)
    if isinstance(result, np.ndarray) and result.size > MOST_NUMBERS:
        raise ValueError(f"returned an array of shape {list(result.shape)}; expected at most {MOST_NUMBERS} numbers")
    return result


def _numbers(value: Any) -> Any:
    """Return nested lists of numbers as an array, and anything else unchanged."""
    if type(value) not in (list, tuple):
        return value
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return value


def _named_engines(module: Any, file: Path) -> dict[str, Any]:
    """Return the engines of a file by their names: those of `engines()`, or the file itself."""
    if not callable(getattr(module, "engines", None)):
        return {file.stem: module}
    engines = {str(name): engine for name, engine in module.engines()}
    if not engines:
        raise ValueError("engines() yields no engine; expected (name, engine) pairs")
    return engines


def _described(name: str, found: Any) -> dict[str, Any]:
    made = callable(getattr(found, "make_engine", None))
    example = _make(found, CONFIGS[0]) if made else found
    functions = [function for function in FUNCTIONS if callable(getattr(example, function, None))]
    settings = {key: sent(getattr(found, key)) for key in SETTINGS if hasattr(found, key)}
    if not isinstance(settings.get("MODEL", ""), str):  # an adapter may call its own model so
        del settings["MODEL"]
    return {"name": name, "made": made, "functions": functions, "settings": settings}


def _make(found: Any, config: ModelConfig) -> Any:
    return found.make_engine(config, dict(random_weights(config)))


def _config(fields: dict[str, Any]) -> ModelConfig:
    """Return the config with these fields, which went through `dataclasses.asdict`."""
    return ModelConfig(**{**fields, "rope": RopeParameters(**fields["rope"])})


def _text(problem: BaseException) -> str:
    try:
        return str(problem)[:2000]
    except Exception:
        return ""
