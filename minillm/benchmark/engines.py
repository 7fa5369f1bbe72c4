"""The engines that can be measured: what each is given to load, and how it is started."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from minillm.loading import open_checkpoint
from minillm.loading.gguf.write import write_gguf
from minillm.loading.registry import REGISTRY
from minillm.support.install_hint import install_hint
from minillm.support.progress import Report

LIBRARIES = {"transformers": "transformers", "llama.cpp": "llama_cpp"}


@dataclass(frozen=True)
class Launch:
    """How an engine is started.

    Attributes:
        name: for messages and tables.
        command: what runs `engine_loop.answer_requests`.
        imports, loads: Python statements; their time is what a user waits before the first prompt.
    """

    name: str
    command: tuple[str, ...]
    imports: str
    loads: str


def launch_minillm(model: str, backend: str, dtype: str) -> Launch:
    """Return how minillm is started."""
    command = (sys.executable, "-m", "minillm.benchmark.engine_minillm", model, backend, dtype)
    return Launch("minillm", command, "import minillm", f"minillm.load({model!r}, {backend!r}, {dtype!r})")


@contextmanager
def launch_peers(names: Sequence[str], model: str, threads: int, report: Report) -> Iterator[list[Launch]]:
    """Yield how these peers are started, with the same weights; files made for them exist until the block ends.

    Raises:
        ValueError: no engine has this name, its library is not installed, or it cannot run this model.
        OSError: a file cannot be read or written.
    """
    for name in names:
        check_installed(name)
    with TemporaryDirectory(prefix="minillm-bench-") as folder:
        launches = {"transformers": _transformers, "llama.cpp": _llama_cpp}
        yield [launches[name](model, threads, Path(folder), report) for name in names]


def check_installed(name: str) -> None:
    """Raise ValueError unless this is a peer, and its library is installed."""
    if name not in LIBRARIES:
        raise ValueError(f"no engine {name[:40]!r} to measure against; expected {', '.join(LIBRARIES)}")
    if importlib.util.find_spec(LIBRARIES[name]) is None:
        raise ValueError(f"{name} is not installed; install it with: {install_hint('bench')}")


def _transformers(model: str, threads: int, folder: Path, report: Report) -> Launch:
    weights = _model_folder(model)
    command = (sys.executable, "-m", "minillm.benchmark.engine_transformers", weights, str(threads))
    imports = "import torch; from transformers import AutoModelForCausalLM"
    return Launch(
        "transformers", command, imports, f"AutoModelForCausalLM.from_pretrained({weights!r}, dtype=torch.float32)"
    )


def _llama_cpp(model: str, threads: int, folder: Path, report: Report) -> Launch:
    """Write our float32 weights as a GGUF, because llama.cpp reads no other format."""
    path = folder / "model.gguf"
    write_gguf(open_checkpoint(model), path, report=report)
    command = (sys.executable, "-m", "minillm.benchmark.engine_llama_cpp", str(path), str(threads))
    return Launch("llama.cpp", command, "import llama_cpp", f"llama_cpp.Llama({str(path)!r}, verbose=False)")


def _model_folder(model: str) -> str:
    """Return the folder of a model in Hugging Face layout."""
    if model in REGISTRY:
        return str(REGISTRY[model].fetch())
    if model.startswith("hf:"):
        from minillm.loading.hub import fetch_from_hub

        return str(fetch_from_hub(model))
    if not Path(model).is_dir():
        raise ValueError(f"transformers cannot read {model}; expected --model to be a folder in Hugging Face layout")
    return model
