"""The corpus is right, the same for the same seed, and shows nothing in training that it holds out."""

import os
import re
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest
import train_tokenizer
from corpus import consistency, facts, patterns, probes, stories, sums
from corpus.story_words import GIRLS
from make_corpus import FINISH_MIXTURE, MIXTURE, TOKENIZER, make_corpus, write_jsonl
from tokenizers import Tokenizer as RustTokenizer

from minillm.loading.tokenizer_folder import read_tokenizer

STORIES = 1000


@pytest.fixture(scope="module")
def tokenizer() -> RustTokenizer:
    return RustTokenizer.from_file(str(TOKENIZER))


@pytest.fixture(scope="module")
def corpus(tokenizer):
    return make_corpus(400_000, 3, tokenizer)


@pytest.fixture(scope="module")
def told():
    rng = Random(5)
    return [stories.write(rng) for _ in range(STORIES)]


def of_kind(part, kind):
    return [text for one, text in part if one == kind]


@pytest.mark.slow
def test_same_seed_same_bytes_and_another_seed_others(tokenizer, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_jsonl(tmp_path / name, make_corpus(20_000, seed, tokenizer)[0])
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_the_corpus_does_not_depend_on_the_hash_seed():
    """Python orders sets and hashes texts anew in every process; the corpus must not notice."""
    code = "import sys; from make_corpus import documents; from itertools import islice; from corpus import probes\n"
    code += "print([list(islice(documents(k, 1), 30)) for k in ('story', 'sum', 'copy')], probes.all_probes())"
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1] != b""


def test_tokens_come_near_to_the_number_asked_and_to_the_mixture(corpus, tokenizer):
    counts = {kind: sum(len(e.ids) + 1 for e in tokenizer.encode_batch(of_kind(corpus[0], kind))) for kind in MIXTURE}
    assert sum(MIXTURE.values()) == pytest.approx(1) == sum(FINISH_MIXTURE.values())
    for kind, share in MIXTURE.items():
        assert counts[kind] == pytest.approx(400_000 * share, rel=0.12), kind


def test_sums_are_right_and_held_out_pairs_never_shown(corpus):
    found = re.findall(r"(\d+) (?:\+|plus) (\d+)\D+(\d+)", "\n".join(text for _, text in corpus[0]))
    assert len(found) > 3000
    for a, b, c in found:
        assert int(a) + int(b) == int(c)
    shown = {frozenset((int(a), int(b))) for a, b, _ in found}
    asked = re.findall(r"(\d+) \+ (\d+)", "\n".join(of_kind(corpus[1], "sum")))
    assert 800 < len(asked) < 1200
    assert not shown & {frozenset((int(a), int(b))) for a, b in asked}


@pytest.mark.parametrize("kind", patterns.TASKS)
def test_lists_are_right_and_held_out_ones_never_shown(corpus, kind):
    def lists(part):
        return re.findall(r"^[\w ]+: ([\w ]+) -> ([\w ]+)\.$", "\n".join(of_kind(part, kind)), re.MULTILINE)

    right = {"copy": lambda words: words, "repeat": lambda words: words * 2, "reverse": lambda words: words[::-1]}[kind]
    for part in corpus:
        assert len(lists(part)) >= 290
        assert all(right(one.split()) == other.split() for one, other in lists(part))
    assert not {one for one, _ in lists(corpus[0])} & {one for one, _ in lists(corpus[1])}


def test_nothing_held_out_is_in_training(corpus, tokenizer):
    train, heldout = ({text for _, text in part} for part in corpus)
    train |= {text for _, text in make_corpus(100_000, "3 finish", tokenizer, FINISH_MIXTURE)[0]}
    assert not train & heldout
    asked = re.findall(r"(\d+) (?:\+|plus) (\d+)", "\n".join(train))
    assert len(asked) > 3000 and not any(sums.is_heldout(int(a), int(b)) for a, b in asked)
    assert of_kind(corpus[1], "story")


def test_held_out_counts_are_never_shown_and_counts_are_right(corpus):
    counts = re.compile(r"Count (?:down )?from (\d+) to (\d+)(?: by (\d+))?: ([\d, ]+)\.")
    shown = [counts.fullmatch(text).groups() for text in of_kind(corpus[0], "counting") if text.startswith("Count")]
    assert len(shown) > 100
    for first, last, step, numbers in shown:
        listed = [int(number) for number in numbers.split(", ")]
        assert (listed[0], listed[-1]) == (int(first), int(last))
        assert {abs(b - a) for a, b in pairwise(listed)} == {int(step or 1)}
    assert not {probe.prompt + probe.answer for probe in probes.counting_probes()} & set(of_kind(corpus[0], "counting"))


@pytest.mark.parametrize("kind", facts.PHRASINGS)
def test_every_fact_is_taught_in_every_phrasing_but_its_held_out_one(kind):
    known = facts.all_facts(kind)
    texts = set(islice(facts.documents(kind, Random(1)), 300 * len(known)))
    for fact in known:
        held = facts.heldout_phrasing(fact)
        for phrasing in range(len(facts.PHRASINGS[kind])):
            assert ("".join(facts.phrase(fact, phrasing)) in texts) == (phrasing != held), (fact, phrasing)


@pytest.mark.parametrize("kind", facts.PHRASINGS)
def test_a_question_has_one_answer(kind):
    asked = {}
    for fact in facts.all_facts(kind):
        for phrasing in range(len(facts.PHRASINGS[kind])):
            prompt, answer = facts.phrase(fact, phrasing)
            assert asked.setdefault(prompt, answer) == answer


def test_about_a_hundred_capitals_are_asked_in_both_main_phrasings():
    asked = {(probe.prompt, probe.answer) for probe in probes.capital_probes()}
    assert ("The capital of France is", " Paris.") in asked
    assert ("Q: What is the capital of France? A:", " Paris.") in asked
    assert len(asked) == 2 * len(facts.all_facts("capital")) >= 200


def test_stories_are_clean(told):
    for text, _ in told:
        assert not re.search(r"[{}]|  |\s$|\.\.|,,| [.,!?]", text), text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text, re.IGNORECASE), text
        assert text.count('"') % 2 == 0, text
        assert re.fullmatch(r'["A-Z].*[.!?]"?', text), text
        assert not re.search(r'(?<!Mr)(?<!Mrs)[.!?]"? "?[a-z]', re.sub(r'[!?]" [a-z]', "", text)), text


def test_stories_use_only_pronouns_of_their_cast(told):
    words = {"she": {"she", "her", "herself"}, "he": {"he", "him", "his", "himself"}}
    checked = 0
    for text, slots in told:
        cast = {slots[name] for name in ("he", "phe", "ahe", "nhe")}
        used = set(re.findall(r"[a-z]+", text.lower()))
        for absent in set(words) - cast:
            checked += 1
            assert not used & words[absent], text
    assert checked > 50


def test_pronouns_belong_to_the_name(told):
    for _, slots in told:
        for name, pronoun in (("hero", "he"), ("pal", "phe")):
            assert (slots[name] in GIRLS) == (slots[pronoun] == "she"), slots


@pytest.mark.parametrize("noun", ["apple", "egg", "igloo", "orange", "umbrella"])
def test_an_stands_before_a_vowel(noun):
    assert stories.with_article(noun) == f"an {noun}"
    assert stories.with_article("b" + noun) == f"a b{noun}"


def test_stories_name_the_hero_early_and_late(told):
    for text, slots in told:
        assert slots["hero"] in text[:90] and slots["hero"] in text[-300:], text


def test_a_friend_is_introduced_before_being_called_by_name(told):
    for text, slots in told:
        if re.search(rf"\b{slots['pal']}\b", text):
            before = text[: re.search(rf"\b{slots['pal']}\b", text).start()]
            assert re.search(r"(friend|named|name is|I am) $", before), text


def test_no_story_has_a_slip(told):
    assert [consistency.slips(text) for text, _ in told] == [[]] * STORIES


@pytest.mark.parametrize(
    ("slip", "found"),
    [
        ("She ran to her mom. Her dad smiled.", "dad and mom"),
        ('"Thank you, Grandma!" Her grandpa smiled.', "grandma and grandpa"),
        ("Mrs. Green came. Mr. Stone took her hand.", "Mr. Stone and Mrs. Green"),
        ("Then Ben had a long stick.", "Ben comes from nowhere"),
        ("She ran to tell her friend Lily.", "Lily is their own friend"),
        ("Her friend Ben came. Ben called his friend Lily.", "Lily is their own friend"),
        ("The leaf grew into an tomato plant.", '"an tomato"'),
        ("It was a apple tree.", '"a apple"'),
        ("She saw  a bird.", "two spaces"),
        ('She stopped. "37 plus 60 is 97."', "a number"),
        ("She stopped and", "no end"),
        (
            "She looked under the flower pot and under the flower pot.",
            '"under the flower pot and under the flower pot"',
        ),
    ],
)
def test_slips_are_found(slip, found):
    assert consistency.slips(f"Once upon a time, there was a small girl named Lily. {slip}") == [found]


def test_what_is_no_slip():
    story = 'There was a boy named Tom. He met a girl named Anna. "Will you come?" said Tom. '
    story += '"My dad gave it to me," said Anna. Tom went home to his mom.'
    assert consistency.slips(story) == []
    assert consistency.slips("There was a boy named Tom. His friend Ben came. Tom thanked his friend Ben.") == []


def test_stories_seldom_read_alike(told):
    assert len({text for text, _ in told}) == len(told)
    assert len({slots["hero"] for _, slots in told}) >= 55


def test_tokenizer_has_2048_tokens_digits_alone_and_comes_back(told):
    tokenizer = read_tokenizer(Path(TOKENIZER).parent, [0])
    assert tokenizer.vocab_size == 2048
    assert tokenizer.special_tokens == {"<|endoftext|>": 0}
    assert len(tokenizer.encode(" 68")) == 3 and len(tokenizer.encode("1234567890")) == 10
    for text in (*(text for text, _ in told[:100]), "naïve 日本語 🙂\n\t x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_trained_tokenizer_keeps_digits_alone(monkeypatch):
    for name, few in {"STORIES": 300, "FACTS": 100, "NAME_COPIES": 3}.items():
        monkeypatch.setattr(train_tokenizer, name, few)
    trained = train_tokenizer.train()
    assert trained.get_vocab_size() == 2048 and trained.token_to_id("<|endoftext|>") == 0
    assert [token for token in trained.get_vocab() if re.search(r"\d", token) and len(token) > 1] == []


def test_sums_probes_ask_every_held_out_pair():
    asked = probes.sum_probes()
    assert len(asked) == len(sums.heldout_pairs())
    assert all(re.fullmatch(r" \d+\.", probe.answer) for probe in asked)
