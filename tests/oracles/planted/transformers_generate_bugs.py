"""Bugs to plant into transformers' own `generate`: where, the right text, the wrong text, the engine and the property.

"where" is a function of transformers, or "" for the adapter. Only bugs that change an answer are here. Positions that
count the padding, for example, do not: RoPE sees only distances.
"""

GREEDY, OPTIONS = "plain_answers_are_greedy", "options_change_no_answer"
UTILS, MIXIN = "transformers.generation.utils", "transformers.generation.utils.GenerationMixin"
STOPPING, CACHES = "transformers.generation.stopping_criteria", "transformers.cache_utils"
BATCHING = "transformers.generation.continuous_batching"
UPDATE, SAMPLE, ASSISTED = (
    f"{MIXIN}._update_model_kwargs_for_generation", f"{MIXIN}._sample", f"{MIXIN}._assisted_decoding"
)  # fmt: skip
TENSORS = f"{BATCHING}.input_outputs.ContinuousBatchingIOs.prepare_batch_tensors"
PAGES = f"{BATCHING}.cache_allocators.full_attention.FullAttentionCacheAllocator"

BUGS = {
    "new positions count the padding": (UPDATE, "+ position_ids[..., -1:]",
        "+ torch.full_like(position_ids[..., -1:], position_ids.shape[-1] - 1)", "generate", OPTIONS),
    "positions of the first row": (f"{MIXIN}._prepare_position_ids_for_generation",
        "position_ids.masked_fill(attention_mask == 0, 0)", "position_ids[:1].clamp(min=0).expand(len(position_ids), -1)",
        "generate", OPTIONS),
    "new tokens are masked": (UPDATE, "attention_mask.new_ones(", "attention_mask.new_zeros(", "generate", OPTIONS),
    "padding is not masked": (f"{MIXIN}.prepare_inputs_for_generation", "model_inputs[attention_mask_key] = attention_mask",
        "model_inputs[attention_mask_key] = attention_mask if attention_mask.ndim > 2 else torch.ones_like(attention_mask)",
        "generate", OPTIONS),
    "one end token ends all rows": (f"{STOPPING}.EosTokenCriteria.__call__", "return is_done",
        "return is_done.any().expand(len(is_done))", "generate", OPTIONS),
    "rows end with the last one only": (f"{STOPPING}.EosTokenCriteria.__call__", "return is_done",
        "return is_done.all().expand(len(is_done))", "generate", OPTIONS),
    "only the first end token ends": (f"{STOPPING}.EosTokenCriteria.__call__", "self.eos_token_id).any",
        "self.eos_token_id[:1]).any", "generate", OPTIONS),
    "an end token is seen one token late": (f"{STOPPING}.EosTokenCriteria.__call__", "input_ids[:, -new_token_length:]",
        "input_ids[:, -new_token_length - 1 : -1]", "generate", OPTIONS),
    "ended rows go on": (SAMPLE,
        "next_tokens = next_tokens * unfinished_sequences + pad_token_id * (1 - unfinished_sequences)", "pass",
        "generate", OPTIONS),
    "one token too many": (f"{STOPPING}.MaxLengthCriteria.__call__", "cur_len >= self.max_length",
        "cur_len > self.max_length", "generate", GREEDY),
    "one token too few": (f"{STOPPING}.MaxLengthCriteria.__call__", "cur_len >= self.max_length",
        "cur_len >= self.max_length - 1", "generate", GREEDY),
    "the second best token": (SAMPLE, "torch.argmax(next_token_scores, dim=-1)",
        "next_token_scores.topk(2, dim=-1).indices[:, 1]", "generate", GREEDY),
    "log-probabilities of the first token": (SAMPLE, "raw_logits += (next_token_logits,)",
        "raw_logits += (raw_logits[0] if raw_logits else next_token_logits,)", "generate", GREEDY),
    "log-probabilities are one token late": ("", "zip(row, probs, strict=True)",
        "zip(row, [probs[0], *probs], strict=False)", "generate", GREEDY),
    "n answers are in turn": (f"{MIXIN}._expand_inputs_for_generation",
        "input_ids.repeat_interleave(expand_size, dim=0)", "input_ids.repeat(expand_size, 1)", "generate", OPTIONS),
    "n answers are sampled": ("", '({"top_k": 1} if n > 1 else {})', "{}", "generate", OPTIONS),
    "a static cache is used again": (f"{MIXIN}._prepare_static_cache", "cache = StaticCache(**self_attention_cache_kwargs)",
        "cache = self.kept = getattr(self, 'kept', None) or StaticCache(**self_attention_cache_kwargs | "
        "{'max_cache_len': 60})", "generate", OPTIONS),
    "a static cache is one row short": (f"{MIXIN}._prepare_static_cache", '"max_cache_len": effective_length,',
        '"max_cache_len": effective_length - 1,', "generate", OPTIONS),
    "a static cache writes from its beginning": (f"{CACHES}.StaticLayer.update",
        "torch.arange(kv_length, device=self.device) + self.cumulative_length",
        "torch.arange(kv_length, device=self.device)", "generate", OPTIONS),
    "without a cache, only the last token is seen": (SAMPLE, '1 if model_kwargs["use_cache"] else None', "1",
        "generate", OPTIONS),
    "a wrong draft token is accepted": (ASSISTED, ".cumsum(dim=-1) < 1).sum()", ".cumsum(dim=-1) < 2).sum()", "drafts",
        OPTIONS),
    "every draft is accepted": (ASSISTED, "selected_tokens[:, : n_matches + 1]", "selected_tokens", "drafts", OPTIONS),
    "drafts are kept, not the choice": (ASSISTED, "selected_tokens[:, : n_matches + 1]",
        "torch.cat([candidate_new_tokens, selected_tokens[:, -1:]], dim=-1)[:, : n_matches + 1]", "drafts", OPTIONS),
    "rejected drafts stay in the cache": (ASSISTED, "outputs.cache.crop(-number_of_tokens_to_crop)", "pass", "drafts",
        OPTIONS),
    "a rejected draft stays in the cache": (ASSISTED, "outputs.cache.crop(-number_of_tokens_to_crop)",
        "outputs.cache.crop(-max(0, number_of_tokens_to_crop - 1))", "drafts", OPTIONS),
    "drafts go on after an end token": (ASSISTED, "eos_positions.numel() > 0", "False", "drafts", OPTIONS),
    "drafts exceed the budget": (ASSISTED, "valid_tokens.shape[1] > tokens_budget", "False", "drafts", OPTIONS),
    "log-probabilities of drafts are one token late": (ASSISTED,
        "tuple(next_token_logits[:, i, :] for i in range(newly_added_length))",
        "tuple(next_token_logits[:, max(0, i - 1), :] for i in range(newly_added_length))", "drafts", OPTIONS),
    "chunks count from 0": (TENSORS, "range(past_length, past_length + query_length)", "range(query_length)",
        "continuous", OPTIONS),
    "requests are one sequence": (TENSORS, "cumulative_seqlens_q=cumulative_seqlens_q,",
        "cumulative_seqlens_q=[0, cumulative_seqlens_q[-1]],", "continuous", OPTIONS),
    "the last chunk's first token is answered": (TENSORS, "logits_indices.append(cumulative_seqlens_q[-1] - 1)",
        "logits_indices.append(cumulative_seqlens_q[-1] - query_length)", "continuous", OPTIONS),
    "pages are read from the first one": (f"{PAGES}.get_read_indices", "block_table[b] * self.block_physical_stride",
        "block_table[0] * self.block_physical_stride", "continuous", OPTIONS),
    "a forked page is not copied": (f"{BATCHING}.cache.PagedAttentionCache.perform_cache_copy", "if src_blocks:",
        "if False:", "continuous", OPTIONS),
    "log-probabilities of the first request": (f"{BATCHING}.model_runner.ModelRunner._sample",
        "logprobs.view(dtype=torch.int32)", "logprobs[:1].repeat(tokens).view(dtype=torch.int32)", "continuous", OPTIONS),
    "a page's hash without those before": (f"{BATCHING}.cache_allocators.cache_allocator.compute_block_hash",
        "if parent_hash is not None:", "if False:", "continuous", OPTIONS),
    "an end token is left out, and its reason": (f"{BATCHING}.requests.RequestState.update_and_check_completion",
        "if is_eos or (current_len < self._new_tokens_limit):", "if not is_eos:", "continuous", OPTIONS),
}  # fmt: skip
