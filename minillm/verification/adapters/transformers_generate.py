"""transformers' `generate`, greedy: caches, assisted generation, prompt lookup, batches, several answers; and batching.

    pytest --minillm-engine transformers_generate        (needs torch and transformers)

The model is a tiny Llama in float64 with random weights. The engine `generate` calls the method of this name, one batch
with padding on the left for all prompts. The engine `drafts` has a similar model, or prompt lookup, too: one prompt
after another. The engine `continuous` calls `generate_batch`, which has pages and a budget of tokens for each pass.
"""

import copy
import gc
import logging
from typing import ClassVar

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCAB_SIZE, NO_TOKEN, PADDING = 17, -1, 0
MOST_TOKENS = 64  # of all requests in continuous batching


def engines():
    """Yield the names and engines."""
    yield "generate", Generate()
    yield "drafts", Drafts()
    yield "continuous", Continuous()


def tiny_model():
    """Return a Llama. Its matrices are larger than usual, so that every token changes the logits."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.float64).eval()
    for part in model.parameters():
        if part.ndim > 1:
            part.data *= 0.3 / part.std()
    return model


def almost(model):
    """Return a model that often chooses the same token, and not always."""
    draft = copy.deepcopy(model)
    for part in draft.parameters():
        part.data += 0.1 * part.std() * torch.randn_like(part)
    return draft


def ends(options):
    """Return the end tokens as a list."""
    eos = options["eos"]
    return [eos] if isinstance(eos, int) else eos or []


def several(n):
    """Return the settings for `n` greedy answers. Several need sampling, among the best token alone."""
    return {"do_sample": n > 1, "num_return_sequences": n} | ({"top_k": 1} if n > 1 else {})


def answer(tokens, logprobs, options):
    """Return an answer up to its first end token. What follows in its row must be padding."""
    last = next((index for index, token in enumerate(tokens) if token in ends(options)), None)
    count = len(tokens) if last is None else last + 1
    assert set(tokens[count:]) <= {PADDING}, f"the tokens {tokens[count:]} follow an end token"
    return tokens[:count], logprobs[:count], "length" if last is None else "eos"


class Generate:
    """`generate` with one batch of all prompts."""

    VOCAB_SIZE, REFERENCE = VOCAB_SIZE, "self"
    OPTIONS: ClassVar = {
        "cache": ["dynamic", "static", "none"],
        "n": [1, 2],
        "eos": [None, [0, 1, 2, 3], 4, [5, 6, 7, 8]],
        "chunk": [None, 3],
        "drafts": [None],
    }

    def __init__(self):
        self.model = tiny_model()

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
        if options["drafts"] and len(prompts) > 1:
            return [self.generate([prompt], options)[0] for prompt in prompts]
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        result = self.model.generate(ids, attention_mask=mask, **self.settings(options))
        rows = result.sequences[:, longest:].tolist()
        chosen = torch.stack(result.logits, dim=1).log_softmax(-1).tolist()  # [answers, tokens, vocab]
        answers = [
            answer(row, [numbers[token] for token, numbers in zip(row, probs, strict=True)], options)
            for row, probs in zip(rows, chosen, strict=True)
        ]
        assert len(rows[0]) == max(len(tokens) for tokens, *_ in answers), "generate goes on after the last answer"
        return answers

    def settings(self, options):
        """Return the arguments of `generate`."""
        n, drafts, cache = options["n"], options["drafts"], options["cache"]
        if cache == "none" and options["chunk"]:
            raise NotImplementedError("chunks need a cache")
        settings = {"max_new_tokens": options["max_new_tokens"], "eos_token_id": ends(options) or None}
        settings |= {"pad_token_id": PADDING, "return_dict_in_generate": True, "output_logits": True}
        settings |= several(n)
        if cache == "static":
            settings |= {"cache_implementation": "static", "disable_compile": True}
            self.model._previous_max_cache_length = 0  # else a cache is as long as the longest one before
        if cache == "none":
            settings["use_cache"] = False
        if options["chunk"]:
            settings["prefill_chunk_size"] = options["chunk"]
        if drafts:
            settings |= {"assistant_model": self.draft} if drafts == "model" else {"prompt_lookup_num_tokens": drafts}
        return settings


class Drafts(Generate):
    """`generate` with drafts of a model, or from the prompt: at most 2 or 5 tokens. They are for one answer."""

    OPTIONS: ClassVar = {**Generate.OPTIONS, "cache": ["dynamic", "static"], "n": [1], "drafts": [None, "model", 2, 5]}

    def __init__(self):
        super().__init__()
        self.model.lm_head.weight.data += self.model.model.embed_tokens.weight.data  # it repeats tokens, as drafts do
        self.draft = almost(self.model)


class Continuous(Generate):
    """`generate_batch`: continuous batching with pages.

    `budget` is the number of tokens in a pass, `blocks` that of pages, `share` whether equal prefixes share pages.
    """

    PAGE = 4
    OPTIONS: ClassVar = {
        "page": [32, PAGE],
        "budget": [MOST_TOKENS, 8],
        "blocks": [None, 12],
        "share": [False, True],
        "order": ["fifo", "prefill_first"],
        "n": [1, 2, 3],
        "eos": Generate.OPTIONS["eos"],
    }

    def __init__(self):
        super().__init__()
        gc.freeze()  # each call of `generate_batch` collects all garbage several times

    def generate(self, prompts, options):
        """Return the answers with their log-probabilities."""
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)
        self.model.set_attn_implementation("sdpa")
        config = GenerationConfig(
            max_new_tokens=options["max_new_tokens"], pad_token_id=PADDING, eos_token_id=ends(options) or NO_TOKEN,
            **several(options["n"]),
        )  # fmt: skip
        batching = ContinuousBatchingConfig(
            page_size=options["page"], num_blocks=options["blocks"] or 4 * MOST_TOKENS // options["page"],
            max_batch_tokens=options["budget"], allow_block_sharing=options["share"], scheduler_type=options["order"],
            return_logprobs=True,
        )  # fmt: skip
        done = self.model.generate_batch(prompts, config, batching, warmup=False)
        return [self.finished(one, options) for one in done.values()]

    def finished(self, result, options):
        """Return an answer. Log-probabilities are those after `top_k`: if there is one token only, all are 0."""
        tokens, finish = list(result.generated_tokens), "length"
        if tokens[-1] in ends(options):
            finish = "eos"
        return tokens, list(result.logprobs) if options["n"] == 1 else None, finish
