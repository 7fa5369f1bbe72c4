"""GGUF, the file format of llama.cpp: header, config, tokenizer and tensors, read as a Checkpoint."""
