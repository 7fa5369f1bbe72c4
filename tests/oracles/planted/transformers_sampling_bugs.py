"""Bugs to plant into how transformers draws a token: where, the right text, the wrong text, and the engine.

"where" is a function of transformers, or "" for the adapter.
"""

UTILS, WARPERS = "transformers.generation.utils", "transformers.generation.logits_process"
DRAFTS, PROCESSORS = f"{UTILS}._speculative_sampling", f"{UTILS}.GenerationMixin._get_logits_processor"
TEMPERATURE, TOP_K, TOP_P, MIN_P = (
    f"{WARPERS}.{name}LogitsWarper.__call__" for name in ("Temperature", "TopK", "TopP", "MinP")
)
KEEP_K, REMOVE_P = "scores < torch.topk(scores, top_k)[0][..., -1, None]", "cumulative_probs <= (1 - self.top_p)"
RESIDUAL = "torch.clamp((p_n_plus_1 - q_n_plus_1), min=0)"

BUGS = {
    "the inverse temperature": (TEMPERATURE, "scores / self.temperature", "scores * self.temperature", "alone"),
    "the temperature twice": (TEMPERATURE, "scores / self.temperature", "scores / self.temperature**2", "alone"),
    "no temperature": (TEMPERATURE, "scores / self.temperature", "scores", "alone"),
    "a temperature of at most 1": (TEMPERATURE, "self.temperature\n", "min(self.temperature, 1.0)\n", "alone"),
    "top_k keeps one too few": (TOP_K, "[0][..., -1, None]", "[0][..., max(0, top_k - 2), None]", "alone"),
    "top_k removes its last token": (TOP_K, KEEP_K, KEEP_K.replace("<", "<="), "alone"),
    "top_k keeps one too many": (TOP_K, "min(self.top_k, scores", "min(self.top_k + 1, scores", "alone"),
    "top_k keeps the least probable": (
        TOP_K,
        KEEP_K,
        "scores > torch.topk(-scores, top_k)[0][..., -1, None] * -1",
        "alone",
    ),
    "top_k of another number": (TOP_K, "min(self.top_k, scores", "min(5, scores", "alone"),
    "top_p is what is left out": (TOP_P, "(1 - self.top_p)", "self.top_p", "alone"),
    "top_p by the sum after the token": (
        TOP_P,
        "cumulative_probs <= (1",
        "cumulative_probs - sorted_logits.softmax(-1) <= (1",
        "alone",
    ),
    "top_p is squared": (TOP_P, "(1 - self.top_p)", "(1 - self.top_p**2)", "alone"),
    "top_p without the order": (
        TOP_P,
        "sorted_indices_to_remove.scatter(1, sorted_indices, sorted_indices_to_remove)",
        "sorted_indices_to_remove",
        "alone",
    ),
    "top_p keeps at least two": (TOP_P, "-self.min_tokens_to_keep :", "-1 - self.min_tokens_to_keep :", "alone"),
    "min_p of all probabilities": (MIN_P, "self.min_p * top_probs", "self.min_p", "alone"),
    "min_p is squared": (MIN_P, "self.min_p * top_probs", "self.min_p**2 * top_probs", "alone"),
    "min_p removes what is above": (MIN_P, "probs < scaled_min_p", "probs > scaled_min_p", "alone"),
    "min_p without the largest one": (MIN_P, "False)", "True)", "alone"),
    "min_p keeps at least two": (MIN_P, "k = min(self", "k = min(1 + self", "alone"),
    "a temperature below 1 only": (
        PROCESSORS,
        "generation_config.temperature != 1.0",
        "generation_config.temperature < 1.0",
        "alone",
    ),
    "top_p below a half only": (PROCESSORS, "generation_config.top_p < 1.0", "generation_config.top_p < 0.5", "alone"),
    "the temperature of top_k": (
        "",
        '"temperature": temperature}',
        '"temperature": temperature + ("top_k" in options)}',
        "alone",
    ),
    "greedy below a temperature of 0.6": ("", "if temperature else", "if temperature > 0.6 else", "alone"),
    "no top_p next to min_p": (
        "",
        'options.get("top_p", 1.0)',
        '1.0 if "min_p" in options else options.get("top_p", 1.0)',
        "alone",
    ),
    "every draft is accepted": (DRAFTS, "r_i <= probability_ratio", "r_i <= probability_ratio * 0 + 1", "one_draft"),
    "drafts are accepted by their own probability": (
        DRAFTS,
        "probability_ratio = p_i / q_i",
        "probability_ratio = q_i",
        "one_draft",
    ),
    "the inverse ratio": (
        DRAFTS,
        "        probability_ratio = p_i / q_i",
        "        probability_ratio = q_i / p_i",
        "one_draft",
    ),
    "the ratio is rounded down": (
        DRAFTS,
        "        probability_ratio = p_i / q_i",
        "        probability_ratio = (p_i / q_i).floor()",
        "one_draft",
    ),
    "a rejected token comes from the target": (DRAFTS, RESIDUAL, "p_n_plus_1.clone()", "one_draft"),
    "a rejected token comes from the draft model": (DRAFTS, RESIDUAL, "q_n_plus_1.clone()", "one_draft"),
    "the residual is not cut at 0": (DRAFTS, RESIDUAL, "(p_n_plus_1 - q_n_plus_1).abs()", "one_draft"),
    "the residual the other way": (DRAFTS, RESIDUAL, "torch.clamp((q_n_plus_1 - p_n_plus_1), min=0)", "two_drafts"),
    "the residual is not normalised": (DRAFTS, "p_prime.div_(p_prime_sum)", "pass", "two_drafts"),
    "the draft model's distribution is that of the target": (
        DRAFTS,
        "q = candidate_logits.softmax",
        "q = new_logits[:, :candidate_length].softmax",
        "one_draft",
    ),
    "the target's distribution is that of the draft model": (
        DRAFTS,
        "p = new_logits.softmax(dim=-1)",
        "p = torch.cat((q, new_logits[:, -1:].softmax(-1)), 1)",
        "two_drafts",
    ),
    "the matches count one too few": (DRAFTS, "< 1).sum()", "< 1).sum().clamp(max=candidate_length - 1)", "one_draft"),
}
