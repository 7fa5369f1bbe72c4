"""How transformers draws a token: `generate` with sampling, alone and with drafts that are accepted or not.

    pytest --minillm-engine transformers_sampling        (needs torch and transformers)

The model's logits are given: they do not depend on the tokens. The draft model has the same logits in another order. So
a first token that comes from a draft must still have the distribution of the model alone (speculative sampling). The
functions of PyTorch that draw are replaced by `draw`.
"""

from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, logging

VOCAB_SIZE = 17  # the logits have fewer numbers


def engines():
    """Yield the names and engines."""
    yield "alone", Sampler(drafts=0)
    yield "one_draft", Sampler(drafts=1)
    yield "two_drafts", Sampler(drafts=2)


@cache
def tiny_model(vocab_size, seed):
    """Return a model, whose logits will be replaced."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.generation_config = GenerationConfig(num_assistant_tokens_schedule="constant")
    return model


class Fixed(torch.nn.Module):
    """The last layer of a model: the same logits after all tokens."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, hidden):
        """Return the logits [sequences, tokens, vocab]."""
        return self.logits.repeat(*hidden.shape[:2], 1)


class Uniform:
    """A random number between 0 and 1. Comparing it with a probability draws."""

    def __init__(self, draw):
        self.draw = draw

    def __le__(self, probabilities):
        chances = probabilities.clamp(max=1).flatten().tolist()
        answers = [self.draw([chance, 1 - chance]) == 0 for chance in chances]
        return torch.tensor(answers).reshape(probabilities.shape)


@contextmanager
def drawing(draw):
    """Let all random numbers of PyTorch come from `draw`."""

    def multinomial(weights, num_samples):
        return torch.tensor([[draw(row.tolist()) for _ in range(num_samples)] for row in weights])

    with patch("torch.multinomial", multinomial), patch("torch.rand_like", lambda like: Uniform(draw)):
        yield


class Sampler:
    """`generate`, whose first token is returned."""

    VOCAB_SIZE = VOCAB_SIZE

    def __init__(self, drafts):
        self.drafts = drafts

    @torch.no_grad()
    def sample(self, logits, options, draw):
        """Return a token."""
        logging.set_verbosity_error()
        model, size = tiny_model(len(logits), 0), len(logits)
        model.lm_head = Fixed(logits)
        settings = {"top_k": options.get("top_k", 0), "top_p": options.get("top_p", 1.0), "min_p": options.get("min_p")}
        temperature = options.get("temperature", 1.0)
        settings |= {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        if self.drafts:
            helper = tiny_model(size, 1)
            helper.lm_head = Fixed([*logits[1:], logits[0]])
            helper.generation_config.num_assistant_tokens = self.drafts
            settings["assistant_model"] = helper
        with drawing(draw):
            found = model.generate(torch.tensor([[0]]), max_new_tokens=1 + self.drafts, **settings)
        return int(found[0, 1])
