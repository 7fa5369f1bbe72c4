"""An end token in the middle of an accepted draft does not end the answer."""

import minillm
from minillm.support.wording import counted

ENGINE = "transformers"
KIND = "speculative decoding"
THREAD = "https://github.com/huggingface/transformers/issues/47912"
TITLE = "Assisted/speculative decoding generates past an EOS that is accepted mid-block"
SEEN = "With an assistant model some answers go on after their end. Without it they stop."
CAUSE = """
A round adds several tokens, and the test for the end looked only at the last of them. An end token that was accepted
before it was one token among others.
"""
PROPERTY = "speculation_gives_the_greedy_text"
MODULE, FUNCTION = "minillm.speculative.rounds", "verify_draft"
PATCH = [
    (
        "        if token != draft_token or completion.finish_reason:\n            return steps\n",
        "        if token != draft_token:\n"
        "            return steps\n"
        '        completion.finish_reason = ""  # the end is looked for after the round\n',
    )
]


def answer(model):
    text = minillm.generate(model, "Tom had a dog.", 120, minillm.Sampling(ignore_eos=True))
    end = text.tokens.index(0) if 0 in text.tokens else len(text.tokens)

    class KnowsTheText:
        free = True

        def propose(self, sequence, k, sampling, generator):
            prompt = len(model.tokenizer.encode_prompt("Tom had a dog."))
            return minillm.Draft(text.tokens[len(sequence) - prompt :][:k])

        def truncate(self, length):
            pass

    out = minillm.speculative_generate(model, KnowsTheText(), "Tom had a dog.", 120, k=5)
    return [f"the end token is token {end + 1}; the answer has {counted(len(out.tokens), 'token')}"]
