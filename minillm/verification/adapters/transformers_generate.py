"""transformers' `generate`, greedy: caches, assisted generation, prompt lookup, batches, several answers; and batching.

    pytest --minillm-engine transformers_generate        (needs torch and transformers)

The model is a tiny Llama in float64 with random weights. The engine `generate` calls the method of this name, one batch
with padding on the left for all prompts. The engine `drafts` has a small model, or prompt lookup, too: one prompt after
another. The engine `continuous` calls `generate_batch`, which has pages and a budget of tokens for each pass.
"""

import logging
from typing import ClassVar

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCAB_SIZE, NO_TOKEN = 17, -1
MOST_TOKENS = 64  # of all requests in continuous batching


def engines():
    """Yield the names and engines."""
    yield "generate", Generate([None])
    yield "drafts", Generate([None, "model", "lookup"])
    yield "continuous", Continuous([None])


def tiny_model(seed, layers):
    """Return a Llama. Its matrices are larger than usual, so that every token changes the logits."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.float64).eval()
    for part in model.parameters():
        if part.ndim > 1:
            part.data *= 0.3 / part.std()
    return model


def ends(options):
    """Return the end tokens as a list."""
    eos = options["eos"]
    return [eos] if isinstance(eos, int) else eos or []


def answer(tokens, logprobs, options):
    """Return an answer up to its first end token. What follows in its row is padding."""
    last = next((index for index, token in enumerate(tokens) if token in ends(options)), None)
    count = len(tokens) if last is None else last + 1
    return tokens[:count], logprobs and logprobs[:count], "length" if last is None else "eos"


class Generate:
    """`generate` with one batch of all prompts."""

    VOCAB_SIZE, REFERENCE = VOCAB_SIZE, "self"
    OPTIONS: ClassVar = {
        "cache": ["dynamic", "static", "none"],
        "n": [1, 2],
        "eos": [None, [0, 1, 2, 3], 4, [5, 6, 7, 8]],
        "chunk": [None, 3],
    }

    def __init__(self, drafts):
        self.OPTIONS = {**self.OPTIONS, "drafts": drafts}
        self.model, self.draft = tiny_model(0, 2), tiny_model(0, 1)

    @torch.no_grad()
    def new_cache(self):
        """Return an empty list: the reference is computed from all tokens."""
        return []

    @torch.no_grad()
    def prefill(self, tokens, cache):
        """Return the logits [vocab] after all tokens, computed without a cache."""
        cache += tokens
        return self.model(torch.tensor([cache]), use_cache=False).logits[0, -1].numpy()

    @torch.no_grad()
    def generate(self, prompts, options):
        """Return the answers with their log-probabilities."""
        if options["drafts"] and len(prompts) * options["n"] > 1:  # drafts are for one answer
            alone = {**options, "n": 1}
            return [self.generate([prompt], alone)[0] for prompt in prompts for _ in range(options["n"])]
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        result = self.model.generate(ids, attention_mask=mask, **self.settings(options))
        rows = result.sequences[:, longest:].tolist()
        chosen = torch.stack(result.logits, dim=1).log_softmax(-1).tolist()  # [answers, tokens, vocab]
        return [
            answer(row, [numbers[token] for token, numbers in zip(row, probs, strict=False)], options)
            for row, probs in zip(rows, chosen, strict=True)
        ]

    def settings(self, options):
        """Return the arguments of `generate`. Several greedy answers need sampling among the best token alone."""
        n, drafts, cache = options["n"], options["drafts"], options["cache"]
        if cache == "none" and (drafts or options["chunk"]):
            raise NotImplementedError("drafts and chunks need a cache")
        settings = {"max_new_tokens": options["max_new_tokens"], "eos_token_id": ends(options) or None}
        settings |= {"pad_token_id": 0, "return_dict_in_generate": True, "output_logits": True}
        settings |= {"do_sample": n > 1, "num_return_sequences": n} | ({"top_k": 1} if n > 1 else {})
        if cache == "static":
            settings |= {"cache_implementation": "static", "disable_compile": True}
        if cache == "none":
            settings["use_cache"] = False
        if options["chunk"]:
            settings["prefill_chunk_size"] = options["chunk"]
        if drafts:
            settings |= {"assistant_model": self.draft} if drafts == "model" else {"prompt_lookup_num_tokens": 3}
        return settings


class Continuous(Generate):
    """`generate_batch`: continuous batching with pages."""

    OPTIONS: ClassVar = {"page": [32, 4], "budget": [64, 8], "n": [1, 2], "eos": Generate.OPTIONS["eos"]}

    def generate(self, prompts, options):
        """Return the answers with their log-probabilities."""
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)
        self.model.set_attn_implementation("sdpa")
        config = GenerationConfig(
            max_new_tokens=options["max_new_tokens"], do_sample=False, pad_token_id=0,
            eos_token_id=ends(options) or NO_TOKEN,
        )  # fmt: skip
        batching = ContinuousBatchingConfig(
            page_size=options["page"], num_blocks=4 * MOST_TOKENS // options["page"],
            max_batch_tokens=options["budget"], return_logprobs=True,
        )  # fmt: skip
        inputs = [prompt for prompt in prompts for _ in range(options["n"])]
        done = self.model.generate_batch(inputs, config, batching, warmup=False)
        results = [done[name] for name in sorted(done, key=lambda name: int(name.split("_")[1]))]
        return [answer(one.generated_tokens, list(one.logprobs), options) for one in results]
