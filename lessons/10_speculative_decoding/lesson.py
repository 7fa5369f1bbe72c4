# %% [markdown]
# # Speculative decoding
#
# One pass of decode reads all weights for one token (lesson 6). A pass over
# five tokens reads them once, too (lesson 5). If the next four tokens were
# known, one pass could compute all of them. **Speculative decoding** proposes
# tokens, verifies them in one pass, and keeps the correct ones. The output is
# the same as without it.
#
# The article's section is "Speculative Decoding".

# %%
import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import (
    line_by_line,
    step_through,
    step_through_run,
)
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.sampling import probabilities
from minillm.speculative.rounds import accept_or_correct
from minillm.trace import record

target = minillm.load("story", backend="exact")
draft = minillm.load("story-draft", backend="exact")
word = target.tokenizer.token_text
girl = "Once upon a time, there was a little girl"
story = girl + " named Rosie. She lived in a small house"
ids = target.tokenizer.encode(story)
print("draft: ", draft.config.num_hidden_layers, "layers")
print(
    "target:", target.config.num_hidden_layers, "layers, larger hidden size"
)

# %% [markdown]
# The model whose output we want is the **target model**. The proposed tokens
# are **draft tokens**. They come from a **draft model**, which is small and
# fast. Our draft model was trained to imitate the target model
# (distillation). Both models must have the same vocabulary.
#
# ## One round by hand
#
# The draft model proposes K = 4 tokens in four cheap passes. Then the target
# model runs *once*, over the last token of the sequence and the four draft
# tokens. It returns five rows of logits. Each row says which token the target
# model itself would choose at this position. Enter judges the next draft
# token of "... She lived in a small house".

# %%
K = 4
cache = minillm.KVCache(target, 64)
minillm.prefill(target, ids[:-1], cache)  # the last token runs below
draft_tokens = minillm.naive_decode(draft, ids, K)
rows = minillm.forward_batch(
    target, [([ids[-1], *draft_tokens], cache)], [K + 1]
)
choices = [int(row.argmax()) for row in rows]
accepted = 0
while accepted < K and draft_tokens[accepted] == choices[accepted]:
    accepted += 1
lines = []
for index, token in enumerate([*draft_tokens, None]):
    shown = "-" if token is None else repr(word(token))
    verdict = "accepted" if index < accepted else "not judged"
    if index == accepted:
        verdict = "bonus" if token is None else "rejected, corrected"
    if index >= accepted and token is not None:
        shown = f"~~{shown}~~"  # struck out
    lines.append(
        [str(index + 1), shown, repr(word(choices[index])), verdict]
    )
picture = table(["", "draft", "target", ""], lines)
step_through(line_by_line(picture, 2), printed=[-1])
assert accepted == 2  # so the third draft token is rejected

# %% [markdown]
# A draft token is **accepted** if it is the target model's own choice. The
# first draft token that is not is **rejected**. The target model's choice
# replaces it: the **corrected** token. All later draft tokens follow a wrong
# token, so they are discarded. If all draft tokens are accepted, the last row
# gives one extra token: the **bonus** token.

# %%
predict(
    f"{accepted} of {K} draft tokens are accepted. How many new tokens does "
    "this round give?",
    answer=accepted + 1,
    mistakes={accepted: "Also count the target model's own token."},
    why="A round gives the accepted tokens and one token of the target "
    "model. So a round is never worse than a decode step, if drafting costs "
    "nothing.",
    shows="A round always gives at least one token, because the target "
    "model's own choice follows the accepted ones.",
)
cache.truncate(len(ids) + accepted)  # drop the rejected tokens (lesson 7)
assert cache.length == len(ids) + accepted

# %% [markdown]
# ## A whole completion
#
# minillm runs round after round: a frame is a round. A rejected draft token is
# struck out: it stands between `~~` and `~~`. How many tokens does each pass
# of the target model give?

# %%
with record() as run:
    out = minillm.speculative_generate(target, draft, ids, 30, k=K)
step_through_run(run.trace, "text", printed=[2, 3, -1])
print(f"{len(out.tokens)} tokens: 1 from prefill,")
print(f"{len(out.tokens) - 1} from {out.rounds} rounds of one target pass")
print(f"{out.accepted} of {out.proposed} draft tokens were accepted")
assert out.rounds < len(out.tokens)

# %%
plain = minillm.generate(target, ids, 30)
predict(
    "Are these the same tokens as without speculation?",
    answer="yes" if plain.tokens == out.tokens else "no",
    choices=["yes", "no"],
    why="A draft token is kept only if it is the token that the target model "
    "would choose.",
    shows="Speculation changes the speed and never the text.",
)
assert plain.tokens == out.tokens

# %% [markdown]
# ## How many tokens per pass?
#
# Suppose each draft token is accepted with probability a. Then a round gives
# on average
#
#     1 + a + a² + ... + a^K = (1 - a^(K+1)) / (1 - a)
#
# tokens. The first token is certain. There is a second one if the first draft
# token is accepted, a third one if the first two are accepted, and so on.


# %%
def expected(a, K):
    """Return the mean number of tokens of a round."""
    return sum(a**i for i in range(K + 1))


predict(
    "Each draft token is accepted with probability 0.8, and K = 4. How many "
    "tokens does a pass of the target model give on average?",
    answer=expected(0.8, 4),
    within=0.05,
    mistakes={5.0: "That is the best case: all draft tokens accepted."},
    why="1 + 0.8 + 0.64 + 0.512 + 0.41. With probability 0.6 it is "
    f"{expected(0.6, 4):.2f}.",
    shows="If 4 of 5 draft tokens are accepted, one pass of the target model "
    "gives more than three tokens.",
)

# %%
measured = {}
begin = target.tokenizer.encode("Once upon a time")
for k in (1, 2, 4, 8):
    out = minillm.speculative_generate(target, draft, begin, 60, k=k)
    measured[f"K = {k}"] = (len(out.tokens) - 1) / out.rounds
print("tokens per pass of the target model, measured in a story:")
print(bars(measured))
assert all(rate > 1 for rate in measured.values())

# %% [markdown]
# A larger K gives more tokens per pass of the target model. But it also costs
# more: each draft token takes a pass of the draft model. Let c be the cost of
# such a pass, as a fraction of a target pass. Then a round costs 1 + K·c, and
# the speed-up is
#
#     expected tokens / (1 + K·c)

# %%
c, lines = 0.1, []
for a in (0.4, 0.6, 0.8, 0.9):
    gains = [expected(a, k) / (1 + k * c) for k in (1, 2, 4, 8)]
    lines.append([f"a = {a}", *(f"{gain:.2f}" for gain in gains)])
print("speed-up, if a draft pass costs a tenth of a target pass:")
print(table(["", "K = 1", "K = 2", "K = 4", "K = 8"], lines))

# %% [markdown]
# Below 1 it is slower than plain decoding. This happens with a poor draft
# model and a large K.
#
# ## Speculation with sampling
#
# With sampling, the target model gives a distribution p instead of one token.
# The draft model has its own distribution q. A draft token x, sampled from q,
# is accepted with probability min(1, p(x) / q(x)). If it is rejected, a token
# is sampled from the **residual** distribution instead: max(0, p - q), scaled
# to sum to 1. The result is distributed *exactly* as p.
#
# So: draw a number r between 0 and 1, and accept if r·q(x) < p(x). This has
# the probability min(p, q) / q. In the frames are p, q and min(p, q) of each
# draft token, as bars, with r·q below. In the second frame the draft model was
# nearly sure of draft token 2: why is it rejected? At the end, 4,000 samples
# test that the result is distributed as p.

# %%
sampling = minillm.Sampling(temperature=1.0)
with record() as run:
    one = minillm.Sampling(temperature=1.0, seed=492)
    minillm.speculative_generate(target, draft, girl, 8, one, k=K)
step_through_run(run.trace, "speculation", [2, 3], printed=[3])
context = target.tokenizer.encode(girl + " named Clara.")
p, q = (
    probabilities(minillm.forward(model, context)[-1], sampling)
    for model in (target, draft)
)
generator = np.random.default_rng(0)
drafted = generator.choice(len(q), size=4000, p=q)
kept = [accept_or_correct(int(x), p, q, generator) for x in drafted]
seen = np.bincount(kept, minlength=len(p)) / len(kept)
lines = [
    [repr(word(t)), f"{q[t]:.3f}", f"{p[t]:.3f}", f"{seen[t]:.3f}"]
    for t in p.argsort()[::-1][:6].tolist()
]
print(table(["... named Clara.", "q", "p", "sampled"], lines))
assert np.abs(seen - p).max() < 0.03

# %%
acceptance = min(1, 0.05 / 0.04)
predict(
    "The target model gives a draft token the probability p = 0.05. The "
    "draft model gave it q = 0.04. With what probability is the token "
    "accepted?",
    answer=float(acceptance),
    mistakes={
        0.05: "The rule does not use p alone. It uses the ratio p/q.",
        1.25: "A probability is at most 1.",
    },
    why="The token is unlikely, but it is always accepted: p is larger than "
    f"q. With p = 0.4 and q = 0.8 the probability is {min(1, 0.4 / 0.8)}.",
    shows="The ratio p/q decides: a draft token can be rejected only where "
    "the draft model was too sure of it.",
)

# %%
print("The article's claims about speculative decoding:")
best = expected(1, K)
claim(
    "spec-example",
    "[Paris, is] ... is: reject ... [beautiful] ... Continue from "
    '"...is beautiful"',
    "false",
    "a rejected token is removed. So the sequence continues "
    '"... France is Paris beautiful".',
)
claim(
    "spec-confidence",
    "low confidence (reject)",
    "false",
    "the ratio p/q decides. A token with p = 0.05 can be accepted always, "
    "and one with p = 0.4 only half of the time.",
)
claim(
    "spec-1-plus-k",
    "compute 1 + K tokens per forward pass",
    "imprecise",
    f"that is the best case, {best:.0f} for K = {K}. The mean is "
    f"{expected(0.8, K):.2f} at a = 0.8 and {expected(0.6, K):.2f} at 0.6.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why the output stays the same, and when
#   speculation makes decoding slower.
# - See the rounds on a page, view "speculation": `minillm trace --raw
#   --speculative --draft story-draft --html run.html "Once upon a time"`.
# - Read `minillm/speculative/rounds.py`: `accept_or_correct` and
#   `verify_draft`. Then read `PromptLookup` in
#   `minillm/speculative/drafters.py`: it drafts tokens without a model.
# - Write it yourself: exercises 20 `greedy_verification`, 21
#   `rejection_sampling` and 22 `expected_tokens`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 20`.
# - `minillm zoo 18 --show` runs a bug of a public engine: an answer that
#   goes on after its end.
# - More of the article's claims: `minillm claims --section speculative`.
# - You can now read all of `minillm/transformer.py`: attention is lesson 3, the
#   rest of the layer 4, the cache 7, and the rows of several sequences 8.
# - Next: lesson 11, the hardware that runs the engine.
#
# Sources: Leviathan et al., 2211.17192. Chen et al., 2302.01318.
