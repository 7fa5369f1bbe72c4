"""Bugs to plant into `complete_engine.py`: what it is, the right line, the wrong line, the property that finds it."""

CACHE_BUGS = {
    "positions from 0 in each call": (
        "q, k = (rope(heads, positions, config", "q, k = (rope(heads, range(len(x)), config",
        "cached_decoding_is_naive_decoding"),
    "a mask that is off by one": ("masked = (ages < 0)", "masked = (ages < -1)", "prefill_is_naive"),
    "a window that is one too long": ("(ages >= (window", "(ages > (window", "prefill_is_naive"),
    "keys that are scaled": (
        "keys, values = np.array(cache.keys[number]), ", "keys, values = np.array(cache.keys[number]) * 1.1, ",
        "prefill_is_naive"),
    "the next page is written to the first row": (
        "keys, values = np.array(cache.keys[number]), ",
        "cache.values[number][:1] = cache.values[number][PAGE:][:1] or cache.values[number][:1]\n"
        "        keys, values = np.array(cache.keys[number]), ", "prefill_is_naive"),
    "a position that comes twice": (
        "first = cache.positions[-1] + 1 if", "first = cache.positions[-1] if", "chunked_prefill_is_whole_prefill"),
    "a whole page is not cut": (
        "cache.cut(length, None)", "cache.cut(length + (length == PAGE), None)", "truncated_tokens_were_never_there"),
    "truncated values stay": ("cache.cut(length, None)", "cache.cut(length + 1, None)",
        "truncated_tokens_were_never_there"),
    "a prefix that is one too short": ("cache.copy(length)", "cache.copy(max(0, length - 1))", "forks_are_independent"),
    "the copy of whole pages is short": (
        "cache.copy(length)", "cache.copy(length - (length in (PAGE, 2 * PAGE)))", "forks_are_independent"),
    "a fork without a state before its next pass": (
        "return self.copy_prefix(cache, len(cache.positions))",
        "copy = self.copy_prefix(cache, len(cache.positions))\n"
        "        copy.copy = lambda length=None: Cache(len(copy.keys))\n        return copy",
        "a_copy_is_complete_at_once"),
    "a copied prefix that is the whole cache": (
        "self.caches.append(cache.copy(length))", "self.caches.append(cache.copy())", "a_copied_prefix_is_its_tokens"),
    "a batch whose rows are swapped": (
        "for tokens, cache in sequences])", "for tokens, cache in sequences])[::-1]",
        "a_batch_is_its_sequences_one_by_one"),
    "nothing is cut at 0": (
        "cache.cut(length, None)", "cache.cut(length or len(cache.turns), None)", "truncated_tokens_were_never_there"),
    "only the first cache is cut where it should be": (
        "cache.cut(length, None)", "cache.cut(length + (cache is not self.caches[0] and length > 1), None)",
        "any_schedule"),
    "the second truncation of a full window": (
        "cache.cut(length, None)",
        "cache.cut(length + (4 in self.config.sliding_windows and hasattr(cache, 'cuts') and len(cache.turns) > 4), None)\n"
        "        cache.cuts = 1", "truncated_tokens_were_never_there"),
    "a removal is applied after the shifts that follow it": (
        "        cache.cut(begin, end)\n",
        "        settle = self.settle\n"
        "        def late(other):\n"
        "            settle(other)\n"
        "            cache.cut(begin, end)\n"
        "            self.settle = settle\n"
        "        self.settle = late\n", "edits_in_a_row_add_up"),
    "a shift is applied after the removals that follow it": (
        "        for index in range(begin, len(cache.positions)):\n",
        "        settle = self.settle\n"
        "        def late(other):\n"
        "            self.settle = settle\n"
        "            type(self).moved(self, cache, begin, by)\n"
        "            settle(other)\n"
        "        self.settle = late\n"
        "    def moved(self, cache, begin, by):\n"
        "        for index in range(begin, len(cache.positions)):\n", "edits_in_a_row_add_up"),
    "removal moves the later tokens": (
        "cache.cut(begin, end)", "cache.cut(begin, end); self.shift(cache, begin, begin - end)",
        "later_tokens_keep_their_positions"),
    "removal takes one too many": ("cache.cut(begin, end)", "cache.cut(begin, end + 1)",
        "later_tokens_keep_their_positions"),
    "removal of one too few": ("cache.cut(begin, end)", "cache.cut(begin, end - 1)",
        "removed_last_tokens_were_never_there"),
    "only the first layer is shifted": ("for keys in cache.keys:", "for keys in cache.keys[:1]:",
        "shifts_that_cancel_change_nothing"),
    "shifted positions, but not keys": ("cache.turns[index] += by", "pass", "shifted_tokens_have_other_positions"),
    "keys shifted the wrong way": ("cache.turns[index] += by", "cache.turns[index] -= by",
        "shifted_tokens_have_other_positions"),
    "a shift that moves nothing back": (
        "cache.turns[index] += by", "cache.turns[index] += max(by, 0)",
        "a_cache_without_its_beginning_moves_forward"),
    "a shift begins one too late": ("for index in range(begin, len", "for index in range(begin + 1, len",
        "shifted_tokens_have_other_positions"),
    "only the last shift is applied": ("cache.turns[index] += by", "cache.turns[index] = by", "edits_in_a_row_add_up"),
    "the others are kept": ("if other is not cache:", "if False:", "a_kept_cache_is_the_only_one"),
    "the kept one is emptied": ("if other is not cache:", "if other is cache:", "a_kept_cache_is_the_only_one"),
    "beams that are not copied": (
        "[self.fork(caches[number]) for number in order]", "[caches[number] for number in order]",
        "reordered_caches_are_those_that_were_chosen"),
    "the inverse order": (
        "[self.fork(caches[number]) for number in order]", "[self.fork(caches[n]) for n in np.argsort(order)]",
        "reordered_caches_are_those_that_were_chosen"),
    "a state that grows with its cache": ("return cache.copy()", "return cache", "a_restored_cache_is_the_saved_one"),
    "a state that is given away": ("return self.fork(state)", "return state", "a_restored_cache_is_the_saved_one"),
    "a state without pending shifts": (
        "        self.settle(cache)\n        return cache.copy()",
        "        state = cache.copy()\n        state.turns = [0] * len(state.turns)\n        return state",
        "edits_in_a_row_add_up"),
    "a state that counts its positions anew": (
        "return self.fork(state)",
        "copy = self.fork(state)\n        copy.positions = list(range(len(copy.positions)))\n        return copy",
        "edits_in_a_row_add_up"),
    "stale rows": ("        cache.cut(0, None)\n        self.caches = [", "        self.caches = [",
        "released_caches_leave_nothing_behind"),
    "released with a neighbour": (
        "        cache.cut(0, None)\n        self.caches = [",
        "        self.caches[-1].cut(0, None)\n        cache.cut(0, None)\n        self.caches = [",
        "released_caches_leave_nothing_behind"),
}  # fmt: skip

GENERATION_BUGS = {
    "swapped answers": (
        "request.finish) for request in requests]", "request.finish) for request in requests[::-1]]",
        "options_change_no_answer"),
    "log-probabilities of two temperatures": (
        "self.logprobs.append(float(shifted[token]", "shifted = shifted / (1 + (len(self.tokens) > 3))\n"
        "        self.logprobs.append(float(shifted[token]", "an_answer_goes_on_from_its_own_tokens"),
    "only the first end token ends": ("if token in self.ends:", "if token in self.ends[:1]:",
        "options_change_no_answer"),
    "an end token that is not seen": (
        "if token in self.ends:", "if token in self.ends and len(self.tokens) > 1:", "options_change_no_answer"),
    "one token too few": ('== self.options["max_new_tokens"]', '>= self.options["max_new_tokens"] - 1',
        "plain_answers_are_greedy"),
    "the wrong reason": ('self.finish = "eos"', 'self.finish = "length"', "options_change_no_answer"),
    "one answer only": ('for _ in range(options["n"])]', "for _ in range(1)]", "options_change_no_answer"),
    "a chunk that is dropped": (
        "for first in range(begin, len(prompt), chunk):", "for first in range(begin, len(prompt), chunk)[-2:]:",
        "options_change_no_answer"),
    "a prefix that is one too long": (
        "best, shared = self.copy_prefix(cache, length), length",
        "best, shared = self.copy_prefix(cache, length + 1), length", "options_change_no_answer"),
    "a prefix that is not copied": (
        "best, shared = self.copy_prefix(cache, length), length", "best, shared = cache, length",
        "an_engine_can_be_used_again"),
    "a prefix that is not compared": ("if tokens[n] != prompt[n]", "if False", "options_change_no_answer"),
    "end tokens of requests before": (
        "self.ends = [eos] if isinstance(eos, int) else eos or []",
        "engine.ends = self.ends = getattr(engine, 'ends', []) + ([eos] if isinstance(eos, int) else eos or [])",
        "an_engine_can_be_used_again"),
    "a budget that leaves a request behind": (
        'for request in running[: options["budget"]]:',
        'running[-1].finish = running[-1].finish or (options["budget"] == 1 and len(running) > 1 and "length")\n'
        "            for request in running[:1]:", "options_change_no_answer"),
    "the least probable token": ("token = int(self.logits.argmax())", "token = int(self.logits.argmin())",
        "plain_answers_are_greedy"),
    "log-probabilities without the sum": (" - np.log(np.exp(shifted).sum())", "", "plain_answers_are_greedy"),
    "log-probabilities of the token before": (
        "self.logprobs.append(float(shifted[token]", "self.logprobs.append(float(shifted[(self.tokens[-2:])[0]]",
        "plain_answers_are_greedy"),
    "a stream without its last token": ("            yield request.tokens[-1]",
        "            if not request.finish: yield request.tokens[-1]", "a_stream_is_the_answer"),
    "a stream that repeats": ("yield request.tokens[-1]", "yield list(request.tokens)", "a_stream_is_the_answer"),
}  # fmt: skip

SAMPLING_BUGS = {
    "weights that are not normalised": ("draw(probs / probs.sum())", "draw(probs)", "sampling_has_its_distribution"),
    "top-k keeps one more": ("probs[top_k:] = 0", "probs[top_k + 1 :] = 0", "sampling_has_its_distribution"),
    "top-k keeps all ties": ("probs[top_k:] = 0", "probs[probs < probs[top_k - 1]] = 0",
        "tied_tokens_are_kept_by_number"),
    "top-p without the token that crosses it": ("(before < options.get", "(before + probs <= options.get",
        "sampling_has_its_distribution"),
    "top-p of all tokens": ("        probs[top_k:] = 0\n        probs /= probs.sum()\n", "        probs[top_k:] = 0\n",
        "sampling_has_its_distribution"),
    "temperature after the filters": (
        "probs = np.exp((logits[ranked] - logits.max()) / temperature)\n",
        "probs = np.exp(logits[ranked] - logits.max())\n", "sampling_has_its_distribution"),
    "temperature times the logits": ("/ temperature)\n", "* temperature)\n", "sampling_has_its_distribution"),
    "min-p of the sum": ('options.get("min_p", 0.0) * probs[0])', 'options.get("min_p", 0.0))',
        "sampling_has_its_distribution"),
    "ids of ranks": ("int(ranked[draw(", "int(np.arange(len(ranked))[draw(", "sampling_has_its_distribution"),
    "greedy is uniform": ("        if temperature == 0:\n            return int(logits.argmax())\n",
        "        temperature = temperature or 1e9\n", "sampling_has_its_distribution"),
}  # fmt: skip
