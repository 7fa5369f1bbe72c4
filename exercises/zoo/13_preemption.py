"""A request that is preempted draws its next token twice."""

import minillm

ENGINE = "vLLM (Gaudi)"
KIND = "preemption"
THREAD = "https://github.com/vllm-project/vllm-gaudi/pull/524"
TITLE = "Fix preemption handling"
SEEN = "With little memory and many requests some answers are wrong from a random place on. Each alone is right."
CAUSE = """
A request that was preempted and resumed ran its prompt again, without the tokens that it had answered so far, and then
went on as if its prefill were done. Output tokens were also added twice.
"""
PROPERTY = "requests_in_one_engine_are_as_if_alone"
MODULE, FUNCTION = "minillm.batching.request", "PagedRequest.next_tokens"
PATCH = [
    (
        "        end = min(first + budget, len(sequence) - bool(draft_tokens))\n"
        "        return ScheduledTokens(self, sequence[first:end], logit_rows=int(end == len(sequence)))\n",
        "        prompt = self.completion.prompt_tokens\n"
        "        end = min(first + budget, prompt if first < prompt else len(sequence))\n"
        "        return ScheduledTokens(self, sequence[first:end], logit_rows=int(end in (prompt, len(sequence))))\n",
    )
]


def answer(model):
    engine = minillm.Engine(model, block_size=4, num_blocks=7)
    sampling = minillm.Sampling(temperature=1.0, seed=1, ignore_eos=True)
    prompts = ["Once upon a time", "The cat"]
    requests = [engine.submit(prompt, 24, sampling) for prompt in prompts]
    engine.run()
    return [repr(prompt + request.text) for prompt, request in zip(prompts, requests, strict=True)]
