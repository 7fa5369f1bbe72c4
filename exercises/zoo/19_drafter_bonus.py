"""The draft model does not read the last draft token of a round in which all were accepted."""

import minillm
from minillm.support.wording import counted

ENGINE = "vLLM"
KIND = "speculative decoding"
THREAD = "https://github.com/vllm-project/vllm/pull/9730"
TITLE = "[Bugfix][SpecDecode] kv corruption with bonus tokens in spec decode"
SEEN = "The text is right, but with more than one draft token a round far fewer of them are accepted than expected."
CAUSE = """
If all draft tokens are accepted, the target adds a bonus token, and the draft model has two tokens to read. The keys
and values of the draft model did not belong to the tokens that were accepted.
"""
PROPERTY = "a_model_accepts_its_own_drafts"
MODULE, FUNCTION = "minillm.speculative.drafters", "ModelDrafter.propose"
PATCH = [
    (
        "prefill(self.model, extended[self.cache.length :], self.cache, PREFILL_CHUNK)",
        "prefill(self.model, extended[-1:] if self.cache.length else extended, self.cache, PREFILL_CHUNK)",
    )
]


def answer(model):
    draft = minillm.load("story-draft", "plain")
    out = minillm.speculative_generate(model, draft, "Once upon a time", 60, minillm.Sampling(ignore_eos=True), k=3)
    return [f"{out.accepted} of {counted(out.proposed, 'draft token')} were accepted", repr(out.text[:60])]
