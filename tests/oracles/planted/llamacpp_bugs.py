"""Bugs to plant into adapters/llamacpp.py: the right text, the wrong text, the engine and the property."""

TRUNCATE, BATCH = "truncated_tokens_were_never_there", "a_batch_is_its_sequences_one_by_one"
FORK, PREFIX, KEEP = "forks_are_independent", "a_copied_prefix_is_its_tokens", "a_kept_cache_is_the_only_one"
REORDER, RESTORE = "reordered_caches_are_those_that_were_chosen", "a_restored_cache_is_the_saved_one"
DECODE, PREFILL, RELEASE = (
    "cached_decoding_is_naive_decoding",
    "prefill_is_naive",
    "released_caches_leave_nothing_behind",
)
ANY = "any_schedule"
REMOVE, SHIFT = "later_tokens_keep_their_positions", "shifted_tokens_have_other_positions"
CUT = "if not llama_cpp.llama_memory_seq_rm(self.memory, cache.number, first, last + 1):"
MOVE = "cache.positions[begin], -1, by)"
COPY = "llama_cpp.llama_memory_seq_cp(self.memory, cache.number, copy.number, -1, -1)"
CLEAR = "llama_cpp.llama_memory_seq_rm(self.memory, cache.number, -1, -1)"

BUGS = {
    "removal leaves the last token": (CUT, CUT.replace("last + 1", "last"), "unified", TRUNCATE),
    "removal begins one too late": (CUT, CUT.replace("first,", "first + 1,"), "unified", REMOVE),
    "removal takes one too many": (CUT, CUT.replace("last + 1", "last + 2"), "unified", REMOVE),
    "no removal": (CUT, "if False:", "unified", REMOVE),
    "removal from another sequence": (CUT, CUT.replace("cache.number", "cache.number + 1"), "streams", TRUNCATE),
    "removal moves the later positions": ("del cache.positions[begin:end]",
        "del cache.positions[begin:end]; cache.positions = list(range(len(cache.positions)))", "unified", REMOVE),
    "a shift the other way": (MOVE, MOVE.replace("by", "-by"), "unified", SHIFT),
    "a shift begins one too late": (MOVE, MOVE.replace("[begin]", "[begin] + 1"), "unified", SHIFT),
    "a shift of one token": (MOVE, "cache.positions[begin], cache.positions[begin] + 1, by)", "unified", SHIFT),
    "twice the shift": (MOVE, MOVE.replace("by", "2 * by"), "streams", SHIFT),
    "a shift of the whole sequence": (MOVE, MOVE.replace("cache.positions[begin]", "-1"), "unified", SHIFT),
    "a fork is one token short": (COPY, COPY.replace("-1, -1", "-1, max(cache.next() - 1, 0)"), "unified", FORK),
    "a fork is empty": (COPY, "pass", "unified", FORK),
    "a fork has the number of its original": ("copy.positions = list(cache.positions)",
        "copy.number, copy.positions = cache.number, list(cache.positions)", "unified", FORK),
    "a prefix of one token too few": ("cache.positions[length - 1] + 1", "cache.positions[length - 1]", "unified", PREFIX),
    "a prefix of one token too many": ("cache.positions[length - 1] + 1", "cache.positions[length - 1] + 2", "unified",
        PREFIX),
    "the prefix goes to the original": ("cache.number, copy.number, 0, end)", "copy.number, cache.number, 0, end)",
        "unified", PREFIX),
    "the others are kept": ("llama_cpp.llama_memory_seq_keep(self.memory, cache.number)", "pass", "unified", KEEP),
    "the first one is kept": ("llama_memory_seq_keep(self.memory, cache.number)",
        "llama_memory_seq_keep(self.memory, 0)", "unified", KEEP),
    "the inverse order": ("self.fork(caches[index]) for index in order", "self.fork(caches[i]) for i in np.argsort(order)",
        "unified", REORDER),
    "no reordering": ("self.fork(caches[index]) for index in order", "self.fork(cache) for cache in caches", "streams",
        REORDER),
    "stale rows": (CLEAR, "pass", "unified", RELEASE),
    "the neighbour is released": (CLEAR, CLEAR.replace("cache.number", "cache.number + 1"), "unified", RELEASE),
    "all are released": (CLEAR, CLEAR.replace("cache.number", "-1"), "unified", RELEASE),
    "the state of another sequence": ("data, size, cache.number)", "data, size, cache.number + 1)", "unified", RESTORE),
    "a state without its end": ("bytes(data[:written]), list", "bytes(data[: written - 8]), list", "unified", RESTORE),
    "a whole state of another sequence": ("one = super().save(Sequence(number, positions))",
        "one = super().save(Sequence(0, positions))", "whole", ANY),
    "a whole state of now": ("buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)\n        here",
        "buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(self.save(Sequence(0))[0])\n        here", "whole", RESTORE),
    "a state file of the first sequence": ("ctypes.c_int(cache.number)\n            assert", "ctypes.c_int(0)\n            assert",
        "file", ANY),
    "a state that is restored as sequence 0": ("len(data), cache.number)", "len(data), 0)", "unified", RESTORE),
    "restored positions begin at 1": ("cache.positions = list(positions)",
        "cache.positions = [position + 1 for position in positions]", "streams", RESTORE),
    "the logits of the first sequence": ("self.logits(row) for row in rows", "self.logits(rows[0]) for row in rows",
        "unified", BATCH),
    "rows of a batch are swapped": ("self.logits(row) for row in rows", "self.logits(row) for row in rows[::-1]",
        "small_passes", BATCH),
    "all tokens go to sequence 0": ("= 1, cache.number\n", "= 1, 0\n", "unified", BATCH),
    "two caches have one number": ("self.free.pop(0)", "self.free[0]", "unified", BATCH),
    "positions count rows": ("= token, cache.next(), last", "= token, row, last", "unified", DECODE),
    "halves are not permuted": ('if architecture == "llama" and part in heads:', "if False:", "unified", PREFILL),
    "qwen3 is permuted, too": ('architecture == "llama" and part in heads', "part in heads", "unified", PREFILL),
    "another rope_theta": ("config.rope.rope_theta", "100.0", "unified", PREFILL),
    "another epsilon": ("add_layer_norm_rms_eps(config.rms_norm_eps)", "add_layer_norm_rms_eps(0.1)", "unified", PREFILL),
}  # fmt: skip
