"""Bugs to plant into fake_server.py or adapters/openai_server.py: the right text, the wrong text, the property."""

OPTIONS, STREAM = "options_change_no_answer", "a_stream_is_the_answer"
PIECES = "    [prompt] = prompts_of(body)\n    tokens, logprobs, finish = answer(prompt, body)"
STOPS = 'body.get("stop_token_ids") or []'
EVERY = "    for prompt in prompts_of(body):\n"

BUGS = {
    "stop is ignored": ("if token in stops:", "if False:", OPTIONS),
    "only the first stop token": (STOPS, f"({STOPS})[:1]", OPTIONS),
    "a stop ends by length": ('logprobs, "stop"', 'logprobs, "length"', OPTIONS),
    "a limit ends by stop": ('logprobs, "length"', 'logprobs, "stop"', OPTIONS),
    "one token too many": ('== body["max_tokens"]', '== body["max_tokens"] + 1', OPTIONS),
    "one token too few": ('== body["max_tokens"]', '== body["max_tokens"] - 1', OPTIONS),
    "the usage of the last answer": ("used += len(tokens)", "used = len(tokens)", OPTIONS),
    "the usage of the last prompt": ("asked += len(prompt)", "asked = len(prompt)", OPTIONS),
    "a total without the prompts": ('"total_tokens": asked + used', '"total_tokens": used', OPTIONS),
    "shifted log-probabilities": ('"token_logprobs": logprobs', '"token_logprobs": [-9.0, *logprobs[:-1]]', OPTIONS),
    "negative log-likelihoods": ('"token_logprobs": logprobs', '"token_logprobs": [-x for x in logprobs]', OPTIONS),
    "one log-probability is missing": ('"token_logprobs": logprobs', '"token_logprobs": logprobs[1:]', OPTIONS),
    "one answer only": ('range(body.get("n", 1))', "range(1)", OPTIONS),
    "the second answer is another prompt's": ("            tokens, logprobs, finish = answer(prompt, body)",
        "            tokens, logprobs, finish = answer(prompt if not choices else [7], body)", OPTIONS),
    "every index is 0": ("choice(len(choices),", "choice(0,", OPTIONS),
    "indices count from 1": ("choice(len(choices),", "choice(len(choices) + 1,", OPTIONS),
    "prompts backwards": (EVERY, EVERY.replace("prompts_of(body)", "prompts_of(body)[::-1]"), OPTIONS),
    "prompts are padded and not masked": (EVERY, EVERY.replace("prompts_of(body)",
        "[[0] * (max(map(len, prompts_of(body))) - len(one)) + one for one in prompts_of(body)]"), OPTIONS),
    "n answers change the prompt": ("greedy(tuple(prompt))", 'greedy(tuple(prompt[-1:] * body.get("n", 1)))'
        ' if body.get("n") == 2 else greedy(tuple(prompt))', OPTIONS),
    "a cached prefix of another prompt": ("greedy(tuple(prompt))",
        'greedy(globals().setdefault("KNOWN", {}).setdefault(prompt[0], tuple(prompt))'
        ' if body.get("stop_token_ids") else tuple(prompt))', OPTIONS),
    "two answers are an error": ("choices, used, asked = [], 0, 0", "choices, used, asked = [], 0, 2 - body['n'] and 0\n"
        "    assert body['n'] == 1", OPTIONS),
    "token ids without the last": ('made["token_ids"] = tokens', 'made["token_ids"] = tokens[:-1]', OPTIONS),
    "a stream without its first piece": ("enumerate(zip(tokens, logprobs, strict=True))",
        "list(enumerate(zip(tokens, logprobs, strict=True)))[1:]", STREAM),
    "a stream without its last piece": ("enumerate(zip(tokens, logprobs, strict=True))",
        "list(enumerate(zip(tokens, logprobs, strict=True)))[:-1]", STREAM),
    "a stream without an end": ('b"data: [DONE]\\n\\n"', 'b"\\n"', STREAM),
    "a stream without a reason": ("finish if last else None", "None", STREAM),
    "a reason in every piece": ("finish if last else None", "finish", STREAM),
    "pieces repeat what came": ("choice(0, [pair[0]], [pair[1]]",
        "choice(0, tokens[: index + 1], logprobs[: index + 1]", STREAM),
    "a stream ignores stop": (PIECES, PIECES.replace("prompt, body)", 'prompt, {**body, "stop_token_ids": []})'), STREAM),
    "a stream ignores the limit": (PIECES, PIECES.replace("prompt, body)", 'prompt, {**body, "max_tokens": LONGEST})'),
        STREAM),
    "a stream of another prompt": (PIECES, PIECES.replace("answer(prompt,", "answer(prompt[:1],"), STREAM),
    "the adapter mixes up threads": ("lambda prompt: answers([prompt], options), prompts)",
        "lambda prompt: answers([prompt], options), prompts[::-1])", OPTIONS),
    "the adapter asks for one more": ('options["max_new_tokens"], "n"', 'options["max_new_tokens"] + 1, "n"', OPTIONS),
    "the adapter asks for one answer": ('"n": options["n"], "return', '"n": 1, "return', OPTIONS),
    "the adapter loses a stop token": ('= options["eos"]\n', '= options["eos"][1:]\n', OPTIONS),
    "the adapter turns requests": ("return answers(prompts, options)", "return answers(prompts[::-1], options)", OPTIONS),
}  # fmt: skip
