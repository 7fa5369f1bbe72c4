"""GGUF, the file format of llama.cpp: read its header, config, tokenizer and tensors as a Checkpoint."""
