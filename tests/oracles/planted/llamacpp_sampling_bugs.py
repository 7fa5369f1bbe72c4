"""Bugs to plant into the adapter of llama.cpp's samplers: the right text and the wrong text.

Not here: what changes no probability. llama.cpp's top_p, for example, keeps one token whatever `min_keep` is.
"""

PARAMETER, ORDER = "sampler(options[name])", "SAMPLERS.items()"
ADDED, PASSED = "llama_cpp.llama_sampler_chain_add(chain, ", "if name in options:"
KEPT, WEIGHTS, DRAWN = (
    "range(candidates.size)",
    "draw(weights / weights.sum())",
    "kept[draw(weights / weights.sum())].id",
)
LOGITS = "for token, logit in enumerate(logits)"


def changed(name, value):
    """A bug: one option has another value, which is an expression of `it`."""
    return PARAMETER, f"sampler((lambda it: {value})(options[name]) if name == {name!r} else options[name])"


BUGS = {
    "top_k keeps one too many": changed("top_k", "it + 1"),
    "top_k keeps one too few": changed("top_k", "max(1, it - 1)"),
    "top_k keeps twice as many": changed("top_k", "2 * it"),
    "top_k is at most 2": changed("top_k", "min(it, 2)"),
    "top_k is at least 2": changed("top_k", "max(it, 2)"),
    "the inverse temperature": changed("temperature", "1 / it if it else 0.0"),
    "the temperature twice": changed("temperature", "it * it"),
    "the root of the temperature": changed("temperature", "it**0.5"),
    "a temperature of at most 1": changed("temperature", "min(it, 1.0)"),
    "a temperature of at least 0.6": changed("temperature", "max(it, 0.6)"),
    "temperature 0 is 1": changed("temperature", "it or 1.0"),
    "top_p is what is left out": changed("top_p", "1 - it"),
    "top_p is squared": changed("top_p", "it * it"),
    "top_p is a little larger": changed("top_p", "min(1.0, it + 0.05)"),
    "top_p is at least a half": changed("top_p", "max(it, 0.5)"),
    "min_p is squared": changed("min_p", "it * it"),
    "min_p is a little larger": changed("min_p", "it + 0.05"),
    "min_p is a part of 1": changed("min_p", "1 - it"),
    "the temperature is ignored": (PASSED, "if name in options and name != 'temperature':"),
    "top_k is ignored": (PASSED, "if name in options and name != 'top_k':"),
    "top_p is ignored": (PASSED, "if name in options and name != 'top_p':"),
    "min_p is ignored": (PASSED, "if name in options and name != 'min_p':"),
    "top_p is ignored next to top_k": (PASSED, "if name in options and (name, 'top_k' in options) != ('top_p', True):"),
    "the temperature comes last": (ORDER, "(*list(SAMPLERS.items())[1:], ('temperature', SAMPLERS['temperature']))"),
    "the order is reversed": (ORDER, "reversed(SAMPLERS.items())"),
    "top_p comes before top_k": (ORDER, "((one, SAMPLERS[one]) for one in ('temperature', 'top_p', 'top_k', 'min_p'))"),
    "min_p comes before top_p": (ORDER, "((one, SAMPLERS[one]) for one in ('temperature', 'top_k', 'min_p', 'top_p'))"),
    "top_p keeps at least two": ("init_top_p(top_p, 1)", "init_top_p(top_p, 2)"),
    "min_p keeps at least two": ("init_min_p(min_p, 1)", "init_min_p(min_p, 2)"),
    "the typical ones are kept": ("init_top_p(top_p, 1)", "init_typical(top_p, 1)"),
    "the last candidate is lost": (KEPT, "range(max(1, candidates.size - 1))"),
    "all candidates are kept": (KEPT, "range(len(logits))"),
    "the row is taken for the token": (DRAWN, DRAWN.removeprefix("kept[").removesuffix("].id")),
    "the weights of the sorted tokens": (WEIGHTS, "draw(sorted(weights / weights.sum()))"),
    "all kept tokens are equally probable": (WEIGHTS, "draw(weights**0 / len(weights))"),
    "the largest one is taken": (WEIGHTS, "int(weights.argmax())"),
    "weights that are not normalised": (WEIGHTS, "draw(weights)"),
    "the first logit belongs to the last token": (LOGITS, "for token, logit in enumerate(logits[1:] + logits[:1])"),
    "logits are rounded to halves": (LOGITS, "for token, logit in enumerate(round(2 * one) / 2 for one in logits)"),
}
