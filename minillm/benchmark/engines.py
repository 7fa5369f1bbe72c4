"""The engines that can be measured: what each is given to load, and how it is started."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from minillm.loading import open_checkpoint
from minillm.loading.gguf.write import TYPES, write_gguf
from minillm.loading.registry import REGISTRY
from minillm.support.install_hint import install_hint
from minillm.support.progress import Report

LIBRARIES = {"transformers": "transformers", "llama.cpp": "llama_cpp"}
FORMATS = {"transformers": ("float32",), "llama.cpp": tuple(TYPES)}  # in which a peer is measured


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


def launch_minillm(
    model: str, backend: str, dtype: str = "float32", weights: str = "float32", cache_dtype: str | None = None
) -> Launch:
    """Return how minillm is started."""
    arguments = model, backend, dtype, weights
    last = (cache_dtype,) if cache_dtype else ()
    command = (sys.executable, "-m", "minillm.benchmark.engine_minillm", *arguments, *last)
    return Launch("minillm", command, "import minillm", f"minillm.load{arguments!r}")


@contextmanager
def launch_peers(
    names: Sequence[str], model: str, threads: int, report: Report, weights: str = "float32"
) -> Iterator[list[Launch]]:
    """Yield how these peers are started, with the same weights; files made for them exist until the block ends.

    A peer that is not measured in this format of the weights is left out.

    Raises:
        ValueError: no engine has this name, its library is not installed, or it cannot run this model.
        OSError: a file cannot be read or written.
    """
    for name in names:
        check_installed(name)
    with TemporaryDirectory(prefix="minillm-bench-") as folder:
        launches = {"transformers": _transformers, "llama.cpp": _llama_cpp}
        measured = [name for name in names if weights in FORMATS[name]]
        yield [launches[name](model, threads, Path(folder), report, weights) for name in measured]


def check_installed(name: str) -> None:
    """Raise ValueError unless this is a peer, and its library is installed."""
    if name not in LIBRARIES:
        raise ValueError(f"no engine {name[:40]!r} to measure against; expected {', '.join(LIBRARIES)}")
    if importlib.util.find_spec(LIBRARIES[name]) is None:
        raise ValueError(f"{name} is not installed; install it with: {install_hint('bench')}")


def _transformers(model: str, threads: int, folder: Path, report: Report, weights: str) -> Launch:
    files = _model_folder(model)
    command = (sys.executable, "-m", "minillm.benchmark.engine_transformers", files, str(threads))
    imports = "import torch; from transformers import AutoModelForCausalLM"
    return Launch(
        "transformers", command, imports, f"AutoModelForCausalLM.from_pretrained({files!r}, dtype=torch.float32)"
    )


def _llama_cpp(model: str, threads: int, folder: Path, report: Report, weights: str) -> Launch:
    """Write our weights as a GGUF file, because llama.cpp reads no other format."""
    path = folder / "model.gguf"
    write_gguf(open_checkpoint(model), path, weights, report)
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
