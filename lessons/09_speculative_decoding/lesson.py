# %% [markdown]
# # Speculative decoding
#
# One pass of decode reads all weights for one token (lesson 5). A pass over
# five tokens reads them once, too (lesson 4). If only we knew the next four
# tokens! **Speculative decoding** guesses them, checks the guesses in one
# pass, and keeps those that are right. The text stays the same.
#
# The article's section is "Speculative Decoding".

# %%
import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict
from minillm.sampling import probabilities
from minillm.speculative.generation import SpeculativeGeneration
from minillm.speculative.rounds import accept_or_correct

target = minillm.load("story", backend="exact")
draft = minillm.load("story-draft", backend="exact")
word = target.tokenizer.token_text
ids = target.tokenizer.encode("Once upon a time, there was a little girl")
print("draft: ", draft.config.num_hidden_layers, "layers")
print("target:", target.config.num_hidden_layers, "layers, and wider")

# %% [markdown]
# The model whose text we want is the **target**. The guesses come from a
# **draft** model, which is small and fast. Here it was trained to imitate the
# target (distillation). Both must have the same tokens.
#
# ## One round by hand
#
# The draft writes K = 4 tokens, in four cheap passes. The target then runs
# *once* over the last token of the text and the four guesses. It returns five
# rows of logits: after each of them, what would *it* have chosen?

# %%
K = 4
cache = minillm.KVCache(target, 64)
minillm.prefill(target, ids[:-1], cache)  # the last one goes in below
guesses = minillm.naive_decode(draft, ids, K)
rows = minillm.forward_batch(
    target, [([ids[-1], *guesses], cache)], [K + 1]
)
choices = [int(row.argmax()) for row in rows]
right = 0
while right < K and guesses[right] == choices[right]:
    right += 1
lines = []
for place, guess in enumerate([*guesses, None]):
    verdict = "accepted" if place < right else "in vain"
    shown = "-" if guess is None else repr(word(guess))
    shown_choice = repr(word(choices[place]))
    if place == right:
        verdict = "the target's own, for free"
    lines.append([str(place + 1), shown, shown_choice, verdict])
print(table(["", "guess", "target", ""], lines))

# %% [markdown]
# Up to the first wrong guess everything is right: the target has seen the
# same text as if it had written it. At the first wrong guess we take its own
# choice. What comes after stands on a wrong token, so it is thrown away. If
# all are right, the last row gives one token more.

# %%
predict(
    f"{right} of {K} guesses are right. How many new tokens does this round "
    "give?",
    answer=right + 1,
    mistakes={right: "And the target's own choice behind them?"},
    why="Always one more than were accepted. So a round is never worse than "
    "a decode step, if guessing costs nothing.",
)
cache.truncate(len(ids) + right)  # forget the wrong guesses (lesson 6)
assert cache.length == len(ids) + right

# %% [markdown]
# ## A whole text
#
# minillm does round after round. In the picture a row is a round: `#` is an
# accepted guess, `x` a correction, `+` the extra token when all were right,
# `o` a step without guesses, where only one token is left to write.

# %%
marks = {"accepted": "#", "corrected": "x", "bonus": "+"}
run = SpeculativeGeneration(target, draft, ids, 48, k=K)
rounds = [""]
for step in run:
    rounds[-1] += marks.get(step.origin, "o")
    if step.origin != "accepted":
        rounds.append("")
out = run.output
picture = {f"round {n}": row for n, row in enumerate(rounds[1:], 1) if row}
print(timeline(picture, "token"))
print(f"{len(out.tokens)} tokens: 1 from the pass over the prompt,")
print(f"{len(out.tokens) - 1} from {out.rounds} rounds, one pass each")
print(f"{out.accepted} of {out.proposed} guesses were accepted")
assert sum(map(len, picture.values())) == len(out.tokens) - 1
assert len(picture) == out.rounds < len(out.tokens)

# %%
plain = minillm.generate(target, ids, 48)
predict(
    "Is it the same text as without speculation, token by token?",
    answer="yes" if plain.tokens == out.tokens else "no",
    choices=["yes", "no"],
    why="A guess is kept only if it is what the target would have chosen. "
    "The draft decides how fast it goes, never what is said.",
)
assert plain.tokens == out.tokens

# %% [markdown]
# ## How many tokens a pass?
#
# Say each guess is right with probability a. Then a round gives, on average,
#
#     1 + a + a² + ... + a^K = (1 - a^(K+1)) / (1 - a)
#
# tokens: one for sure, a second if the first guess was right, and so on.


# %%
def expected(a, K):
    """Mean tokens of a round."""
    return sum(a**i for i in range(K + 1))


predict(
    "Each guess is right with probability 0.8, and K = 4. How many tokens "
    "does a pass of the target give, on average?",
    answer=expected(0.8, 4),
    within=0.05,
    mistakes={5.0: "That is the best case: all guesses right."},
    why="1 + 0.8 + 0.64 + 0.512 + 0.41. And with 0.6 it is "
    f"{expected(0.6, 4):.2f}.",
)

# %%
measured = {}
story = target.tokenizer.encode("Once upon a time")
for k in (1, 2, 4, 8):
    run = minillm.speculative_generate(target, draft, story, 60, k=k)
    measured[f"K = {k}"] = (len(run.tokens) - 1) / run.rounds
print("tokens a pass of the target, in a story:")
print(bars(measured))
assert all(rate > 1 for rate in measured.values())

# %% [markdown]
# Long guesses give more tokens a pass. But they cost more, too: every guess is
# a pass of the draft. If one takes the share c of a pass of the target, a
# round takes 1 + K·c, and the speed-up is
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
# Below 1 it is slower than plain decoding: a poor draft with a large K loses.
#
# ## And with sampling?
#
# If tokens are drawn at random, "what the target would have chosen" is not a
# token but a distribution p. The draft has its own, q. A guess x, drawn from
# q, is accepted with probability min(1, p(x) / q(x)). If it is rejected, a
# token is drawn from what p has more than q: max(0, p - q), scaled to sum to
# 1. The result is distributed *exactly* as p. Let us see: 4,000 draws.

# %%
one = minillm.Sampling(temperature=1.0)
name = [*ids, *target.tokenizer.encode(" named")]
p, q = (
    probabilities(minillm.forward(model, name)[-1], one)
    for model in (target, draft)
)
dice = np.random.default_rng(0)
drawn = dice.choice(len(q), size=4000, p=q)
kept = [accept_or_correct(int(x), p, q, dice) for x in drawn]
seen = np.bincount(kept, minlength=len(p)) / len(kept)
lines = [
    [repr(word(t)), f"{q[t]:.3f}", f"{p[t]:.3f}", f"{seen[t]:.3f}"]
    for t in p.argsort()[::-1][:6].tolist()
]
print(table(["... a little girl named", "q", "p", "drawn"], lines))
assert np.abs(seen - p).max() < 0.03

# %%
sure = min(1, 0.05 / 0.04)
predict(
    "The target gives a guess the probability 0.05, the draft gave it 0.04. "
    "With what probability is it accepted?",
    answer=float(sure),
    mistakes={
        0.05: "Not the target's confidence: the ratio p/q.",
        1.25: "A probability is 1 at most.",
    },
    why="An unlikely token, accepted for sure: the target wants it more "
    f"often than the draft offers it. With p = 0.4, q = 0.8 it is "
    f"{min(1, 0.4 / 0.8)}.",
)

# %%
print("And the article? Its claims about speculation, one by one.")
best = expected(1, K)
claim(
    "spec-verify",
    "verified in the same pass",
    "true",
    f"one pass over {K + 1} tokens gave {K + 1} rows of logits.",
)
claim(
    "spec-rule",
    "Accept tokens that match the full model",
    "true if",
    "decoding is greedy. With sampling: accept with min(1, p/q), else draw "
    "from max(0, p - q).",
)
claim(
    "spec-example",
    "[Paris, is] ... is: reject ... [beautiful] ... Continue from "
    '"...is beautiful"',
    "false",
    'a rejected token goes. It continues "... France is Paris beautiful".',
)
claim(
    "spec-confidence",
    "low confidence (reject)",
    "false",
    "the ratio p/q decides: p = 0.05 can be accepted for sure, p = 0.4 only "
    "half of the time.",
)
claim(
    "spec-1-plus-k",
    "compute 1 + K tokens per forward pass",
    "imprecise",
    f"that is the best case, {best:.0f} for K = {K}; the mean is "
    f"{expected(0.8, K):.2f} at a = 0.8, {expected(0.6, K):.2f} at 0.6.",
)
claim(
    "spec-20-40",
    "speeds up inference by 20-40%",
    "imprecise",
    "it depends on a, K and c: the table above goes from "
    f"{expected(0.4, 8) / (1 + 8 * c):.2f} to "
    f"{expected(0.9, 8) / (1 + 8 * c):.2f}. The papers measured 2 to 3.",
)
claim(
    "spec-vendors",
    "Anthropic and OpenAI use speculative decoding in production",
    "not checkable",
    "neither has published it, as far as is known.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why the text stays the same, and when speculation
#   makes things slower.
# - Read `minillm/speculative/rounds.py`: `accept_or_correct` and `verify`. Then
#   `minillm/speculative/drafters.py`: `PromptLookup` guesses without any model.
# - Write it yourself: the exercises `greedy_verification`,
#   `rejection_sampling`, `expected_tokens`.
# - That was the engine. You can now read all of `minillm/transformer.py`.
# - Next: lesson 10, the hardware that it runs on.
#
# Sources: Leviathan et al., 2211.17192. Chen et al., 2302.01318.
