"""Tokenizers of folders with every combination of side files do what transformers' AutoTokenizer makes of them.

Where minillm differs on purpose:

- `encode` never yields a special token: it is compared with `split_special_tokens=True`.
- A token is special if any file that counts says so. transformers leaves a token as text that only a list of extra
  tokens names, if another file lists it as text; `tokenizer.all_special_tokens` contains it all the same.
- The end of an answer, by special_tokens_map.json, is special even if tokenizer_config.json has `added_tokens_decoder`.
- `add_bos_token: true` puts a BOS before raw prompts, as transformers 4 did; transformers 5 passes over it.
"""

import tempfile
import warnings
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_folder import CONFIG, write_json
from tiny_tokenizer import definition, llama2_style
from transformers import AutoTokenizer

from minillm.loading.tokenizer_folder import read_tokenizer
from minillm.text.chat_template import render
from minillm.text.messages import free_signs

NAMES = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
OTHERS = ["image_token", "video_token", "boi"]
CONTENTS = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<x>", "<|y|>", "ab", "z z", "é"]
FLAGS = ["single_word", "lstrip", "rstrip", "normalized"]
MESSAGES = [{"role": "user", "content": "a"}]
TEMPLATE = (
    "".join(f"{name}={{{{ {name} if {name} is defined else 'UNDEFINED' }}}}|" for name in [*NAMES, *OTHERS])
    + "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>{% endfor %}"
)
contents = st.sampled_from(CONTENTS)


def metaspace() -> dict:
    """As newer conversions of SentencePiece: a pre-tokenizer in place of the normalizer."""
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return llama2_style() | {"normalizer": None, "pre_tokenizer": step}


@st.composite
def tokens(draw, special: bool | None = None) -> dict:
    """An added token as an object, with all flags."""
    flags = {flag: draw(st.booleans()) for flag in FLAGS}
    return {"content": draw(contents), **flags, "special": draw(st.booleans()) if special is None else special}


@st.composite
def definitions(draw) -> dict:
    """A tokenizer.json whose added tokens are some of its vocabulary, and some new ones."""
    values = draw(st.sampled_from([definition, llama2_style, metaspace]))()
    vocabulary = values["model"]["vocab"]
    listed = draw(st.lists(tokens(), max_size=4, unique_by=lambda token: token["content"]))
    own = {token["content"]: token for token in values["added_tokens"]}
    end = len(vocabulary)
    for token in listed:
        if token["content"] in vocabulary:
            own[token["content"]] = token | {"id": vocabulary[token["content"]]}
        else:
            own[token["content"]], end = token | {"id": end}, end + 1
    bos = draw(st.none() | st.sampled_from(values["added_tokens"]))
    return values | {
        "added_tokens": sorted(own.values(), key=lambda token: token["id"]),
        "post_processor": values["post_processor"] if bos is None else begins_with(bos),
    }


def begins_with(bos: dict) -> dict:
    """A post-processor that puts this token before a text."""
    single = [{"SpecialToken": {"id": bos["content"], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {bos["content"]: {"id": bos["content"], "ids": [bos["id"]], "tokens": [bos["content"]]}}
    pair = [*single, {"Sequence": {"id": "B", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def typed(token: dict) -> dict:
    """As transformers writes it to tokenizer_config.json."""
    return token | {"__type": "AddedToken"}


named = contents | tokens(special=True).map(typed)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={name: named | st.none() for name in NAMES}
    | {"image_token": contents, "video_token": contents, "add_bos_token": st.just(False)}
    | {
        "extra_special_tokens": st.dictionaries(st.sampled_from(OTHERS), contents, max_size=2),
        "added_tokens_decoder": st.dictionaries(st.integers(0, 300).map(str), tokens(), max_size=4),
    },
)
LISTS = st.fixed_dictionaries(
    {},
    optional={
        "extra_special_tokens": st.lists(contents, min_size=1, max_size=3, unique=True),
        "additional_special_tokens": st.lists(contents, min_size=1, max_size=3, unique=True),
    },
)
MAPS = st.fixed_dictionaries(
    {},
    optional={name: contents | tokens(special=True) for name in NAMES}
    | {"additional_special_tokens": st.lists(contents, max_size=3, unique=True), "image_token": contents},
)
ADDED = st.lists(contents, max_size=4, unique=True).flatmap(
    lambda texts: st.permutations(range(400, 400 + len(texts))).map(lambda ids: dict(zip(texts, ids, strict=True)))
)
# An object of extra tokens never comes with a list: transformers then reads the lists of the other files too.
SETTINGS = CONFIGS | st.tuples(CONFIGS, LISTS).map(
    lambda pair: {name: value for name, value in pair[0].items() if name != "extra_special_tokens"} | pair[1]
)
FILES = st.fixed_dictionaries(
    {}, optional={"tokenizer_config.json": SETTINGS, "special_tokens_map.json": MAPS, "added_tokens.json": ADDED}
)
TEXTS = st.lists(st.sampled_from([*CONTENTS, " ", "a", "b", "\n", "x", " ab"]), max_size=7).map("".join)


def agreeing(added: dict, values: dict, files: dict) -> dict:
    """An added_tokens.json whose ids are those of tokenizer.json, without tokens that settings name as objects.

    transformers reads other ids as another declaration, and does not see that such a token is special.
    """
    own = {token["content"]: token["id"] for token in values["added_tokens"]}
    settings = files.get("tokenizer_config.json", {}).values()
    objects = {value["content"] for value in settings if isinstance(value, dict) and "content" in value}
    return {text: own.get(text, i) for text, i in added.items() if text not in objects}


def both(values: dict, files: dict):
    """The tokenizers of minillm and of transformers, read from one folder."""
    if "added_tokens.json" in files:
        files = files | {"added_tokens.json": agreeing(files["added_tokens.json"], values, files)}
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        for name, contents in (files | {"config.json": CONFIG, "tokenizer.json": values}).items():
            write_json(folder / name, contents)
        return read_tokenizer(folder, ()), AutoTokenizer.from_pretrained(folder)


def special_texts(values: dict, files: dict, theirs) -> set[str]:
    """What any file that counts calls special."""
    ends = [files.get(name, {}).get("eos_token") for name in ("tokenizer_config.json", "special_tokens_map.json")]
    found = {end["content"] if isinstance(end, dict) else end for end in ends} & theirs.get_vocab().keys()
    declared = files.get("tokenizer_config.json", {}).get("added_tokens_decoder", {}).values()
    found |= {token["content"] for token in [*values["added_tokens"], *declared] if token["special"]}
    found |= {token.content for token in theirs.added_tokens_decoder.values() if token.special}
    return found | set(theirs.all_special_tokens)


@settings(max_examples=400)
@given(definitions(), FILES, TEXTS, st.data())
def test_side_files_mean_what_they_mean_to_transformers(values, files, text, data):
    ours, theirs = both(values, files)
    assert ours.named_tokens == theirs.special_tokens_map
    assert ours.vocabulary == theirs.get_vocab()
    special, added = special_texts(values, files, theirs), theirs.added_tokens_decoder
    assert set(ours.special_tokens) == special
    formed = {values["model"]["vocab"]["ab"]}  # by merges, though a file calls it special
    assert not set(ours.encode(text)) & set(ours.special_tokens.values()) - formed
    ids = data.draw(st.lists(st.integers(0, ours.vocab_size - 1), max_size=6))
    texts = {number: theirs.backend_tokenizer.id_to_token(number) for number in added}
    # Declared twice, a token keeps the normalized text of the first time in the library, though it is no longer so.
    ids = [i for i in ids if i not in added or added[i].normalized or texts[i] == added[i].content]
    assert ours.decode(ids) == theirs.decode(ids)
    kept = [i for i in ids if i not in added or added[i].content not in special]
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(kept)
    if "ab" not in special and special == {token.content for token in added.values() if token.special}:
        assert ours.encode_with_special(text) == theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.encode_prompt(text) == theirs.encode(text, split_special_tokens=True)
    rendered = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert render(ours, free_signs(MESSAGES), MESSAGES) == rendered
    if not any(token.single_word or token.lstrip or token.rstrip or token.normalized for token in added.values()):
        assert ours.apply_chat_template(MESSAGES) == theirs.encode(rendered, add_special_tokens=False)
