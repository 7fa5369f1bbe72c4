"""Any server with an OpenAI-compatible endpoint /completions: vLLM, llama.cpp's server, and others.

    export MINILLM_SERVER=http://127.0.0.1:8000/v1       the address before /completions
    export MINILLM_SERVER_MODEL=my-model                 the name of the model
    export MINILLM_SERVER_PROMPTS=text                   if the server takes texts only; the default is token ids
    export MINILLM_SERVER_VOCAB=32000                    prompts have token ids below this; the default is 1000
    pytest --minillm-engine openai_server

Decoding is greedy. Nothing is known of the model: each answer is compared with that of one plain request. The tokens of
an answer are its `token_ids` (vLLM returns them on request), or else the texts of its tokens in `logprobs`. Each text
gets a number when it first appears. A server that gives neither refuses.
"""

import json
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

SERVER, MODEL = os.environ.get("MINILLM_SERVER", "").rstrip("/"), os.environ.get("MINILLM_SERVER_MODEL", "model")
if not SERVER.startswith("http"):
    raise ValueError("MINILLM_SERVER is not set; expected an address such as http://127.0.0.1:8000/v1")
TEXTS = os.environ.get("MINILLM_SERVER_PROMPTS", "tokens") == "text"
PROMPT_IDS = int(os.environ.get("MINILLM_SERVER_VOCAB", "1000"))
VOCAB_SIZE = 1_000_000  # more than any model has: answers may have any token
WORDS = "the cat sat by a river and one day it saw that dogs were 7 old friends".split()
TIMEOUT = 60.0  # seconds for one request
OPTIONS = {
    "send": ["one by one", "together", "at once"],  # several prompts: in turn, in one request, in several threads
    "n": [1, 2],
    "eos": [None] if TEXTS else [None, list(range(0, PROMPT_IDS, 3)), list(range(1, PROMPT_IDS, 2))],
    "logprobs": [True] if TEXTS else [True, False],
}
numbers = {}  # the number of each text


def generate(prompts, options):
    """Return `n` answers of each prompt, one prompt after another: (tokens, log-probabilities or None, finish)."""
    if options["send"] == "together":
        return answers(prompts, options)
    if options["send"] == "one by one":
        return [answer for prompt in prompts for answer in answers([prompt], options)]
    with ThreadPoolExecutor(len(prompts)) as threads:
        return [answer for found in threads.map(lambda prompt: answers([prompt], options), prompts) for answer in found]


def stream(prompt, options):
    """Yield the tokens of an answer in the pieces in which they come."""
    with post({**fields([prompt], options), "stream": True}) as response:
        ended = False
        for line in response:
            if not line.startswith(b"data:"):
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                assert ended, "the stream has no finish_reason"
                return
            for choice in json.loads(data)["choices"]:
                assert not ended or not choice.get("text"), "the stream goes on after its finish_reason"
                ended = ended or choice.get("finish_reason") is not None
                yield tokens_of(choice)
    raise ValueError("the stream ends without data: [DONE]")


def answers(prompts, options):
    """Send one request. Return the answers in the order of the prompts."""
    with post(fields(prompts, options)) as response:
        found = json.load(response)
    choices = sorted(found["choices"], key=lambda choice: choice["index"])
    expected = list(range(len(prompts) * options["n"]))
    assert [choice["index"] for choice in choices] == expected, "the choices have other indices than 0, 1, ..."
    tokens = [tokens_of(choice) for choice in choices]
    check_usage(found.get("usage"), prompts, tokens)
    reasons = [choice["finish_reason"] for choice in choices]
    return list(zip(tokens, map(logprobs_of, choices), reasons, strict=True))


def check_usage(usage, prompts, tokens):
    """Raise AssertionError if the server counts other tokens than it got and sent."""
    if usage:
        sent, got = usage["completion_tokens"], sum(map(len, tokens))
        assert sent in (got, got + len(tokens)), f"usage has {sent} completion_tokens; the answers have {got}"
        asked = sum(map(len, prompts))
        assert TEXTS or usage["prompt_tokens"] == asked, (
            f"usage has {usage['prompt_tokens']} prompt_tokens, not {asked}"
        )
        assert usage["total_tokens"] == usage["prompt_tokens"] + sent, "usage: the total is not the sum"


def fields(prompts, options):
    """Return the body of a request."""
    texts = [" ".join(WORDS[token % len(WORDS)] for token in prompt) for prompt in prompts]
    ids = [[token % PROMPT_IDS for token in prompt] for prompt in prompts]
    body = {"model": MODEL, "prompt": texts if TEXTS else ids, "temperature": 0}
    body |= {"max_tokens": options["max_new_tokens"], "n": options["n"], "return_token_ids": not TEXTS}
    if options["logprobs"]:
        body["logprobs"] = 1
    if options["eos"] is not None:
        body["stop_token_ids"] = options["eos"]
    else:
        body["ignore_eos"] = True
    return body


def tokens_of(choice):
    """Return the tokens of a choice."""
    if choice.get("token_ids") is not None:
        return choice["token_ids"]
    if choice.get("logprobs"):
        return [numbers.setdefault(text, len(numbers)) for text in choice["logprobs"]["tokens"]]
    if not choice.get("text"):
        return []
    raise NotImplementedError("the server gives neither token_ids nor logprobs with the texts of tokens")


def logprobs_of(choice):
    """Return the log-probability of each token, or None. A greedy token has the largest one."""
    if not choice.get("logprobs"):
        return None
    found, tops = choice["logprobs"]["token_logprobs"], choice["logprobs"].get("top_logprobs") or []
    assert all(number <= 0 for number in found), f"log-probabilities above 0: {found}"
    for number, top in zip(found, tops, strict=False):  # one that was shifted by a token is found only here
        assert number >= max(top.values()) - 1e-3, (
            f"a greedy token has {number:.6g}, another one {max(top.values()):.6g}"
        )
    return found


def post(body):
    """Send a body. Return the response. A server that calls the request wrong refuses it."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{SERVER}/completions", json.dumps(body).encode(), headers)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as problem:
        told = problem.read(500).decode(errors="replace")
        if problem.code in (400, 404, 422, 501):
            raise NotImplementedError(f"{problem.code}: {told}") from None
        raise RuntimeError(f"{problem.code}: {told}") from None
