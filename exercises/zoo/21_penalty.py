"""A repetition penalty makes tokens with negative logits more probable."""

import minillm
from minillm.sampling import probabilities

ENGINE = "transformers"
KIND = "repetition penalty"
THREAD = "https://github.com/huggingface/transformers/issues/2302"
TITLE = "Repetition penalty work falsely in case the logit of the token is negativ"
SEEN = "With a penalty of 1.5 the model writes `The dog dog dog dog dog dog`."
CAUSE = "All logits of seen tokens were divided by the penalty. A negative logit grows if it is divided."
PROPERTY = "a_penalty_makes_no_seen_token_more_probable"
MODULE, FUNCTION = "minillm.sampling", "penalise"
PATCH = [
    (
        "logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)",
        "logits[ids] = logits[ids] / penalty",
    )
]


def answer(model):
    prompt = "The big dog ran to the park"
    tokens, lines = model.tokenizer.encode(prompt), []
    logits = minillm.forward(model, tokens)[-1]
    token = min(tokens, key=lambda each: logits[each])  # the least probable of those that were seen
    for penalty in (1.0, 3.0):
        sampling = minillm.Sampling(temperature=1.0, repetition_penalty=penalty)
        probability = probabilities(logits, sampling, [token])[token]
        lines.append(f"{prompt!r}, penalty {penalty}: {model.tokenizer.decode([token])!r} has {probability:.1e}")
    return lines
