# %% [markdown]
# # Distillation
#
# A small model is cheap to run, but it knows little. **Distillation** trains
# a small model, the **student**, to give the same probabilities as a large
# model, the **teacher**. The draft model of lesson 10 was made in this way.
# Here we train two students for some seconds, one with a teacher and one with
# the text alone, and compare them.
#
# The article's section is "Optimization Strategies", 2.

# %%
import numpy as np

import minillm
from minillm.attention import softmax
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.training.distill import Favourites, favourites_loss
from minillm.training.losses import soft_cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import Schedule
from minillm.training.parameters import initialise, llama_config
from minillm.training.trainer import Trainer, next_token_loss

teacher = minillm.load("story", backend="plain")
word = teacher.tokenizer.token_text
prompt = "Once upon a time, there was a little"
logits = minillm.forward(teacher, teacher.tokenizer.encode(prompt))[-1]
p = softmax(logits)
best = [int(token) for token in p.argsort()[::-1][:8]]
print(f"{prompt} ...")
print(bars({repr(word(t)): round(float(p[t]), 3) for t in best}))

# %% [markdown]
# ## What a teacher says more than a text
#
# In a training text one token follows, for example " girl". Lesson 2 trains
# with this token alone: its probability should be 1, and that of all other
# tokens 0. But " boy" was nearly as good, and " fox" was possible. The text
# does not say so. The teacher does.

# %%
predict(
    "At this position the text gives one target. For how many tokens does "
    "the teacher give a probability?",
    answer=len(p),
    mistakes={8: "The bars are only the most probable ones."},
    why="It gives one for every token of the vocabulary. So each position of "
    "a text teaches more. Hinton called it dark knowledge: what the teacher "
    "knows about the answers that did not come.",
    shows="At each position a teacher says more than a text does: a "
    "probability for every token.",
)

# %% [markdown]
# ## The loss
#
# With one target the loss is -log q(target), where q is the probability of
# the student. With a distribution p of the teacher it is the mean of that,
# weighted with p:
#
#     loss = -sum of p(token) * log q(token)        gradient = q - p
#
# The gradient is for the logits of the student. Training moves them against
# it. Look at the signs: which logits go up, and which go down?

# %%
few = best[:4]
target = p[few] / p[few].sum()  # the teacher, for four tokens alone
student = np.array([2.0, 0.0, 0.0, 1.0])  # logits
q = softmax(student)
loss, gradient = soft_cross_entropy(
    student[None].copy(), target[None], np.array([0]), 1
)
lines = [
    [repr(word(t)), f"{a:.2f}", f"{b:.2f}", f"{g:+.2f}"]
    for t, a, b, g in zip(few, target, q, gradient[0], strict=True)
]
print(table(["", "teacher p", "student q", "q - p"], lines))
print(f"loss {loss:.3f}")
assert np.allclose(gradient[0], q - target, atol=1e-6)

# %%
entropy = float(-(target * np.log(target)).sum())
equal, _ = soft_cross_entropy(
    np.log(target)[None], target[None], np.array([0]), 1
)
choices = ["0", "above 0"]
predict(
    "The student becomes equal to the teacher: q = p. How large is the loss "
    "now?",
    answer=choices[int(equal > 0.01)],
    choices=choices,
    why=f"It is {equal:.3f}, the entropy of p: the teacher itself is not "
    "sure. So one subtracts it to see what is left to learn. The difference "
    "is the Kullback-Leibler divergence (KL), and it is 0 for q = p.",
    shows="The loss of a perfect student is not 0: it is the entropy of the "
    "teacher.",
)
assert abs(equal - entropy) < 1e-5

# %% [markdown]
# ## Temperature
#
# As in lesson 1, the logits of the teacher can be divided by a temperature
# before the softmax. Each frame is one temperature. What happens to the less
# probable tokens?

# %%
frames = []
for temperature in (0.25, 0.5, 1.0, 2.0, 4.0):
    warm = softmax(logits / temperature)
    each = {repr(word(t)): round(float(warm[t]), 3) for t in best}
    frames.append(f"temperature {temperature}\n{bars(each)}")
step_through(frames, printed=[1, 3])

# %% [markdown]
# Above 1 the student also learns much about improbable tokens. Below 1 the
# most probable ones count more. minillm's own draft model was distilled at
# 0.5, because speculation with greedy decoding needs just these.
#
# ## Two students
#
# The teacher writes 40 beginnings of stories, with sampling. 32 are for
# training. The others are **held out**: we measure on them, and no student
# reads them in training. The teacher runs over the texts once, and we store
# its 16 most probable tokens at each position. Other tokens hardly count.

# %%
begin = teacher.tokenizer.encode("Once upon a time")
engine = minillm.Engine(teacher)
requests = [
    engine.submit(
        begin, 28, minillm.Sampling(temperature=1, seed=s, ignore_eos=True)
    )
    for s in range(40)
]
engine.run()
rows = np.array([begin + request.tokens for request in requests], np.int32)
train, held_out = rows[:32], rows[32:]  # [texts, tokens]
told = np.stack([minillm.forward(teacher, row[:-1]) for row in rows])
likely = told[:32].argsort(axis=-1)[..., -16:]
favourites = Favourites(likely, np.take_along_axis(told[:32], likely, -1))
shown = np.take_along_axis(softmax(told[:32]), likely, -1).sum(axis=-1)
sample = teacher.tokenizer.decode(rows[0, :14].tolist())
print(f"a text begins: {sample!r}")
print(f"the 16 tokens have {shown.mean():.0%} of the probability")

# %% [markdown]
# Both students begin with the same random weights, and read the same texts in
# the same order. One learns the next token of the text, as in lesson 2, and
# the other the teacher's 16 probabilities. Every 20 steps we compute, on the
# texts held out, KL from the teacher, and the **overlap**: the sum of
# min(p, q), which lesson 10 draws. It is the share of draft tokens that would
# be accepted.

# %%
small = llama_config(
    2048, 32, 96, layers=1, heads=2, kv_heads=1, context=512
)
p_held_out = softmax(told[32:])  # [texts, time, vocab]


def compare(weights):
    """Return KL from the teacher and the overlap, on the held-out texts."""
    inputs = held_out[:, :-1]
    logits, _ = Network(weights, *inputs.shape).forward(inputs)
    q = softmax(logits).reshape(p_held_out.shape)
    kl = (p_held_out * np.log(p_held_out / q)).sum(axis=-1).mean()
    return float(kl), float(np.minimum(p_held_out, q).sum(axis=-1).mean())


losses = {
    "text": next_token_loss,
    "teacher": favourites_loss(train[:, :-1], favourites),
}
course = {}
for name, loss_of in losses.items():
    weights = initialise(small, seed=1)
    schedule = Schedule(steps=140, learning_rate=1e-2, warmup_steps=5)
    run = Trainer(weights, schedule, train, 8, loss_of, threads=1)
    for step in range(1, 141):
        run.step()
        if step % 20 == 0:
            course[name, step] = compare(weights)
print(f"two students of {weights.vector.size:,} weights, 140 steps each")

# %%
end = {name: course[name, 140] for name in losses}
nearest = min(end, key=lambda name: end[name][0])
predict(
    "Which student is nearer to the teacher, on texts that both have not "
    "read?",
    answer=f"the one that learned from the {nearest}",
    choices=[f"the one that learned from the {name}" for name in losses],
    why="It is measured by KL and by the overlap. The frames show both.",
    shows="With the same texts and the same number of steps, what a student "
    "aims at makes the difference.",
)
assert end["teacher"][0] < end["text"][0] - 0.5
assert end["teacher"][1] > end["text"][1]

# %% [markdown]
# Look at KL of "text" in the last frames. Does it still fall?

# %%
frames = []
for step in range(20, 141, 20):
    kl = {f"{n}: KL": round(course[n, step][0], 2) for n in losses}
    share = {f"{n}: overlap": round(course[n, step][1], 2) for n in losses}
    frames.append(f"after step {step}\n{bars(kl)}\n{bars(share)}")
step_through(frames, printed=[0, 3, -1])

# %% [markdown]
# The 32 texts are few. A student that learns from the text alone soon knows
# them by heart: it is sure of the token that came, also where another one was
# as good. This is **overfitting**. The teacher's probabilities say how sure
# one may be, so the same texts last longer. This is one run. With three
# other sets of texts the figures differed, but the student of the teacher was
# nearer each time.
#
# Both students are poor: they have read 32 texts. `story-draft` has
# 0.23 million weights, a twelfth of `story`, and read millions of tokens.

# %%
draft = minillm.load("story-draft", backend="plain")
overlap = np.mean(
    [
        np.minimum(p, softmax(minillm.forward(draft, row[:-1]))).sum(
            axis=-1
        )
        for p, row in zip(p_held_out, held_out, strict=True)
    ]
)
print("overlap with the teacher, on the held-out texts:")
shares = {f"a student of the {name}": end[name][1] for name in losses}
print(bars({**shares, "story-draft": float(overlap)}))
assert overlap > end["teacher"][1]

# %%
large, student_size = 7e9, 3e9
predict(
    "A model with 7 billion weights is distilled to one with 3 billion. A "
    "decode step reads all weights. How many times faster can it be?",
    answer=large / student_size,
    within=0.03,
    why="The bytes bound the time of a step (lesson 6). For 4 times the "
    "speed, the student needs a fourth of the weights.",
    shows="How fast a student can decode depends on its size, and not on how "
    "it was trained.",
)
claim(
    "distill",
    "Train a smaller model (3B parameters) to mimic a larger model (7B) ... "
    "3-5x faster inference",
    "false",
    f"7 / 3 = {large / student_size:.1f}, in bytes and in FLOPs.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: what a teacher's probabilities say that a text
#   does not say, and why the loss of a perfect student is not 0.
# - Read `minillm/training/distill.py`: `distillation_loss` and
#   `favourites_loss`. Then read `soft_cross_entropy` in
#   `minillm/training/losses.py`.
# - See the distilled draft model work for its teacher on a page, view
#   "speculation": `minillm trace --raw --speculative --draft story-draft
#   --html run.html "Once upon a time"`.
# - Write it yourself: exercise 30 `distillation_loss`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 30`.
# - More of the article's claims: `minillm claims --section optimization`.
# - Next: lesson 16, the prompt and the prefix cache.
#
# Sources: Hinton et al., Distilling the Knowledge in a Neural Network,
# 1503.02531. Zhou et al., DistillSpec, 2310.08461.
