"""Which tokens end an answer: the union of all that any file of a model names, for files of every kind.

    folder    eos_token_id of config.json and generation_config.json; eos_token of tokenizer_config.json and
              special_tokens_map.json
    GGUF      the eos, eot, eom and fim ids of the metadata; texts that are known as ends

A chat model often has two: one ends a text, such as `<|endoftext|>`, the other a turn, such as `<|im_end|>`. Files of a
folder name them. A GGUF file often names only one, so llama.cpp knows others by their text, of every type.
The result is `config.eos_token_ids`. Source of the texts: llama.cpp's llama-vocab.cpp.
"""

from collections.abc import Callable, Collection, Iterable

ENDS_OF_TURNS = (
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <|endoftext|> <|end_of_text|> <end_of_turn> <end_of_utterance> <turn|> "
    "<|return|> <|call|> <|calls|> <|flush|> <|tool_response> </s> <eos> [EOS] <EOT> _<EOT> [EOT]".split()
)
ENDS_OF_FILES = (  # of code, in models that fill gaps in it
    "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> "
    "<|file_sep|>".split()
)


def ends_of_answer(
    ids: Iterable[int], texts: Iterable[str], token_id: Callable[[str], int | None], vocab_size: int
) -> tuple[int, ...]:
    """Return the ids of all tokens that end an answer, each once: `ids` first, then those of `texts`.

    Args:
        ids: the ids that files name.
        texts: the texts of tokens that files name, or that are known.
        token_id: returns the id of a token, or None for a text that is not a token.
        vocab_size: of the model, which can only choose smaller ids.
    """
    found = [token_id(text) for text in texts]
    return tuple(dict.fromkeys([*ids, *(number for number in found if number is not None and number < vocab_size)]))


def known_ends(tokens: Collection[str]) -> list[str]:
    """Return those of these tokens that are known as ends of answers."""
    known = {text for text in (*ENDS_OF_TURNS, *ENDS_OF_FILES) if text in tokens}
    if known & {"<|call|>", "<|calls|>"} and known & {"<|return|>", "<|flush|>"}:
        known.discard("<|end|>")  # of one message of several, in gpt-oss and Solar
    if "<|tool_response>" in known:
        known.discard("</s>")  # of HTML, in Gemma 4
    return sorted(known)
