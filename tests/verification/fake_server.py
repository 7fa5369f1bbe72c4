"""A tiny server with the endpoint /v1/completions. It runs minillm. Bugs are planted into this source."""

import json
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

import minillm
from minillm.sampling import log_probabilities

MODEL = minillm.load("story-draft")
LONGEST = 10


@cache
def greedy(prompt):
    """The most probable tokens after a prompt, with their log-probabilities."""
    cache = minillm.KVCache(MODEL, capacity=len(prompt) + LONGEST)
    logits, found = minillm.prefill(MODEL, list(prompt), cache), []
    for _ in range(LONGEST):
        token = int(np.argmax(logits))
        found.append((token, float(log_probabilities(logits)[token])))
        logits = minillm.decode_step(MODEL, token, cache)
    return found


def answer(prompt, body):
    """The tokens, log-probabilities and finish reason of one answer."""
    tokens, logprobs, stops = [], [], body.get("stop_token_ids") or []
    for token, logprob in greedy(tuple(prompt)):
        if len(tokens) == body["max_tokens"]:
            break
        tokens.append(token)
        logprobs.append(logprob)
        if token in stops:
            return tokens, logprobs, "stop"
    return tokens, logprobs, "length"


def choice(index, tokens, logprobs, finish, body):
    texts = [MODEL.tokenizer.decode([token]) for token in tokens]
    made = {"index": index, "text": "".join(texts), "finish_reason": finish}
    if body.get("return_token_ids"):
        made["token_ids"] = tokens
    if body.get("logprobs"):
        named = [f"{token}:{text}" for token, text in zip(tokens, texts, strict=True)]
        made["logprobs"] = {"tokens": named, "token_logprobs": logprobs}
        tops = [{name: number} for name, number in zip(named, list(logprobs), strict=True)]
        made["logprobs"]["top_logprobs"] = tops
    return made


def prompts_of(body):
    prompts = body["prompt"]
    prompts = prompts if isinstance(prompts, list) and not isinstance(prompts[0], int) else [prompts]
    return [MODEL.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]


def complete(body):
    choices, used, asked = [], 0, 0
    for prompt in prompts_of(body):
        asked += len(prompt)
        for _ in range(body.get("n", 1)):
            tokens, logprobs, finish = answer(prompt, body)
            choices.append(choice(len(choices), tokens, logprobs, finish, body))
            used += len(tokens)
    usage = {"prompt_tokens": asked, "completion_tokens": used, "total_tokens": asked + used}
    return {"object": "text_completion", "choices": choices, "usage": usage}


def pieces(body):
    [prompt] = prompts_of(body)
    tokens, logprobs, finish = answer(prompt, body)
    for index, pair in enumerate(zip(tokens, logprobs, strict=True)):
        last = index == len(tokens) - 1
        yield {"choices": [choice(0, [pair[0]], [pair[1]], finish if last else None, body)]}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions" or body["max_tokens"] > LONGEST:
            self.send_error(400, "expected /v1/completions and few tokens")
            return
        self.send_response(200)
        self.end_headers()
        if body.get("stream"):
            for piece in pieces(body):
                self.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")
        else:
            self.wfile.write(json.dumps(complete(body)).encode())

    def log_message(self, *arguments):
        pass


def serve():
    """A server on a free port, which `serve_forever` runs."""
    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
