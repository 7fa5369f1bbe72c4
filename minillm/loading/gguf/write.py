"""Write a Checkpoint as a GGUF file, with the matrices in one of our formats. minillm and llama.cpp both load it.

    format      type of the tensors in the file
    float32     F32
    bfloat16    BF16
    int8        Q8_0
    int4        Q4_1

The numbers and scales of our own `quantize` go into the blocks, so `load(file, weights="stored")` computes with exactly
what `load(name, weights="int4")` computes with. Norms and biases stay float32, and so does a matrix whose rows cannot
be divided into blocks of 32. The gguf library writes the container. One tensor at a time is in memory.
"""

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.loading.checkpoint import Checkpoint, StoredTensor
from minillm.loading.gguf.file import NAMES, ROPE_FACTORS
from minillm.loading.gguf.tensor import permute, to_blocks
from minillm.loading.gguf.write_metadata import architecture_of, config_metadata, rope_factors
from minillm.loading.gguf.write_tokenizer import tokenizer_metadata
from minillm.loading.stored import format_of, in_format, part_of
from minillm.quantization import GROUP, Matrix, Quantized
from minillm.support.checks import check_choice
from minillm.support.partial_file import create_partial
from minillm.support.progress import Report
from minillm.support.wording import counted

TYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0", "int4": "Q4_1"}
FILE_TYPES = {"float32": "ALL_F32", "bfloat16": "MOSTLY_BF16", "int8": "MOSTLY_Q8_0", "int4": "MOSTLY_Q4_1"}
GGUF_NAMES = {ours: theirs for theirs, ours in NAMES.items()}
TEMPORARY = ".writing-"  # begins the name of a file that is not complete


def write_gguf(
    checkpoint: Checkpoint,
    path: Path,
    weights: str = "float32",
    report: Report = lambda step, done, total: None,
) -> None:
    """Write a checkpoint. The file appears under its name when it is complete; if that fails, nothing is left.

    Args:
        checkpoint: what is written.
        path: the new file. A file of this name is replaced.
        weights: the format of the matrices, a key of `TYPES`. Numbers that are stored in it are not rounded again.
        report: called with the progress.

    Raises:
        ValueError: GGUF, or the architecture's code in llama.cpp, cannot express the model.
        OSError: a file cannot be read or written.
    """
    check_choice("weights", weights, list(TYPES))
    tensors = _tensors(checkpoint)
    metadata = _metadata(checkpoint, weights)
    _warn_of_long_rows(checkpoint.name, weights, tensors)
    with _complete_or_absent(path) as file:
        writer = _begin(file, checkpoint.config, metadata, weights, tensors)
        try:
            for done, (name, tensor) in enumerate(tensors.items()):
                report(f"writing {path.name}", done, len(tensors))
                writer.write_tensor_data(_data(checkpoint, name, tensor, weights))
            if (factors := rope_factors(checkpoint.config)) is not None:
                writer.write_tensor_data(factors)
        finally:
            writer.close()


def _begin(
    file: Path, config: ModelConfig, metadata: dict[str, Any], weights: str, tensors: dict[str, StoredTensor]
) -> Any:
    """Write all that comes before the data: the metadata, and the name, type and shape of each tensor."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, architecture_of(config))
    for key, value in metadata.items():
        _add(writer, key, value)
    for name, tensor in tensors.items():
        _add_tensor_info(writer, gguf_name(name), tensor.shape, type_of(name, tensor.shape, weights))
    if (factors := rope_factors(config)) is not None:
        _add_tensor_info(writer, ROPE_FACTORS, factors.shape, "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def _add(writer: Any, key: str, value: Any) -> None:
    """Add one value of the metadata. Integers are unsigned with 32 bits and floats have 32, as llama.cpp expects."""
    if isinstance(value, list):
        writer.add_array(key, value)
    else:
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add[type(value)](key, value)


def _add_tensor_info(writer: Any, name: str, shape: tuple[int, ...], kind: str) -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    type_ = GGMLQuantizationType[kind]
    block, block_bytes = GGML_QUANT_SIZES[type_]
    size = int(np.prod(shape)) // block * block_bytes
    writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=type_)


def type_of(name: str, shape: tuple[int, ...], weights: str) -> str:
    """Return the GGUF type of a tensor. Blocks have 32 weights, and a row has only whole blocks."""
    blocks = len(shape) == 2 and (weights == "bfloat16" or shape[1] % GROUP == 0)
    return TYPES[format_of(name, weights)] if blocks else "F32"


def _data(checkpoint: Checkpoint, name: str, tensor: StoredTensor, weights: str) -> Array:
    """Return what the file holds of a tensor: floats, or the bytes of its blocks. Rows are in llama.cpp's order."""
    quantised = type_of(name, tensor.shape, weights) != "F32"
    try:
        values = in_format(name, tensor, weights) if quantised else np.asarray(tensor.read(), np.float32)
        ordered = _as_llama_cpp_orders(checkpoint.config, name, values)
        return to_blocks(ordered) if isinstance(ordered, Quantized) else np.ascontiguousarray(ordered, np.float32)
    except ValueError as problem:
        raise ValueError(f"{checkpoint.name}: tensor {name}: {problem}") from None


def _as_llama_cpp_orders(config: ModelConfig, name: str, values: Matrix) -> Matrix:
    """Permute the rows of q and k, if the architecture's files have them so; see `gguf/tensor.py`."""
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    count = heads.get(part_of(name).rpartition(".")[0], 0)
    if not count or architecture_of(config) != "llama":
        return values
    if isinstance(values, Quantized):
        return values.with_arrays([permute(array, count) for array in values.arrays()])
    return permute(values, count)


def gguf_name(name: str) -> str:
    """Convert a name: `model.layers.3.self_attn.q_proj.weight` to `blk.3.attn_q.weight`."""
    module, _, kind = part_of(name).rpartition(".")
    layer = f"blk.{name.split('.')[2]}." if name.startswith("model.layers.") else ""
    return f"{layer}{GGUF_NAMES[module]}.{kind}"


def _tensors(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """Return the tensors that a model of this family has. One warning names all others."""
    unused = [name for name in checkpoint.tensors if part_of(name).rpartition(".")[0] not in GGUF_NAMES]
    if unused:
        shown = ", ".join(repr(name)[:80] for name in unused[:4])
        warnings.warn(f"{checkpoint.name}: not written: {counted(len(unused), 'tensor')}: {shown}", stacklevel=4)
    return {name: tensor for name, tensor in checkpoint.tensors.items() if name not in unused}


def _metadata(checkpoint: Checkpoint, weights: str) -> dict[str, Any]:
    """Return all metadata. A tokenizer that GGUF cannot express is left out, with a warning."""
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    general = {
        "general.name": Path(checkpoint.name).name,
        "general.file_type": int(LlamaFileType[FILE_TYPES[weights]]),
        "general.quantization_version": GGML_QUANT_VERSION,
    }
    tokenizer: dict[str, Any] = {"tokenizer.ggml.model": "no_vocab"}
    if checkpoint.tokenizer is not None:
        try:
            tokenizer = tokenizer_metadata(checkpoint.tokenizer, checkpoint.config)
        except ValueError as problem:
            warnings.warn(f"{checkpoint.name}: written without its tokenizer, for token ids: {problem}", stacklevel=3)
    return general | config_metadata(checkpoint.name, checkpoint.config, checkpoint.tensors) | tokenizer


def _warn_of_long_rows(name: str, weights: str, tensors: dict[str, StoredTensor]) -> None:
    matrices = {tensor: t.shape for tensor, t in tensors.items() if len(t.shape) == 2}
    lengths = {
        shape[1]
        for tensor, shape in matrices.items()
        if weights != "float32" and type_of(tensor, shape, weights) == "F32"
    }
    if lengths:
        shown = ", ".join(map(str, sorted(lengths)))
        warnings.warn(
            f"{name}: matrices with rows of {shown} stay float32: a row of {weights} is a multiple of {GROUP} in GGUF",
            stacklevel=3,
        )


@contextmanager
def _complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary file in the same folder. At the end, rename it to `path`; if something fails, remove it."""
    partial = None
    try:
        handle, partial = create_partial(path, TEMPORARY, ".gguf")
        os.close(handle)
        yield partial
        os.replace(partial, path)
    except OSError as problem:
        if partial is not None and problem.filename not in (None, str(partial)):  # a file that is read
            raise
        reason = problem.errno or errno.ENOSPC  # NumPy reports a full disk without a number
        raise OSError(reason, os.strerror(reason), str(path)) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
