"""generation_config.json: how the author of a model chooses its tokens. minillm reads its end-of-sequence ids alone.

All other choices are the caller's: greedy by default, without penalties. A setting with which transformers would give
another answer is passed over with one warning, which names it and the options that follow it.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from minillm.support.checks import shown

NEUTRAL: dict[str, tuple[Any, ...]] = {  # the values, besides null, that change no answer
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "sequence_bias": ([], {}),
    "force_words_ids": ([],),
    "constraints": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "exponential_decay_length_penalty": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "max_new_tokens": (),
    "max_time": (),
    "stop_strings": ([],),
    "num_beams": (1,),
    "guidance_scale": (1,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "token_healing": (False,),
    "watermarking_config": (),
}
SAMPLED: dict[str, tuple[Any, ...]] = {  # read only together with do_sample
    "temperature": (1,),
    "top_k": (0,),
    "top_p": (1,),
    "min_p": (0,),
    "top_h": (),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
}
HARMLESS = frozenset(
    # read elsewhere, or about the file
    "eos_token_id bos_token_id pad_token_id decoder_start_token_id _from_model_config _commit_hash "
    "_original_object_hash transformers_version "
    # of beam search, which num_beams stands for
    "early_stopping length_penalty diversity_penalty num_beam_groups "
    # how transformers computes or returns the same answer
    "use_cache cache_implementation cache_config max_cache_len use_mtp compile_config disable_compile low_memory "
    "prefill_chunk_size continuous_batching_config output_attentions output_hidden_states output_scores output_logits "
    "return_dict_in_generate return_legacy_cache num_return_sequences renormalize_logits remove_invalid_values "
    # its speculative decoding
    "is_assistant num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold "
    "prompt_lookup_num_tokens max_matching_ngram_size assistant_early_exit assistant_lookbehind target_lookbehind "
    "assistant_ensemble_weight speculation_type".split()
)
GENERATION_FIELDS = HARMLESS.union(NEUTRAL, SAMPLED, ("do_sample", "max_length"))
OPTIONS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens")


def warn_of_settings(generation: Mapping[str, Any], context: int, source: str = "generation_config.json") -> None:
    """Warn once of all settings with which transformers would give another answer.

    Args:
        generation: the parsed file.
        context: the most tokens of the model; a `max_length` of as many changes nothing.
        source: the file's name.
    """
    settings = passed_over(generation, context)
    if settings:
        named = ", ".join(f"{name[:40]} {shown(value)}" for name, value in list(settings.items())[:8])
        if generation.get("do_sample") is True:
            settings = {"temperature": 1.0, **settings}
        known = [f"--{name.replace('_', '-')} {shown(settings[name])}" for name in OPTIONS if name in settings]
        follow = f"; to follow it as far as minillm can, pass {' '.join(known)}" if known else ""
        warnings.warn(f"{source}: not used unless you ask for it: {named}{follow}", stacklevel=5)


def passed_over(generation: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Return the settings that would change an answer, by name."""
    samples = generation.get("do_sample") is True
    neutral = NEUTRAL | {"do_sample": (False,), "max_length": (generation.get("max_length"),)}
    if type(generation.get("max_length")) is int and generation["max_length"] < context:
        neutral["max_length"] = ()
    neutral |= {name: values if samples else (generation.get(name),) for name, values in SAMPLED.items()}
    return {
        name: value
        for name, value in generation.items()
        if value is not None and name not in HARMLESS and not any(value == same for same in neutral.get(name, ()))
    }
