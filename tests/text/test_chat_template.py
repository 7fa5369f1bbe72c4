"""Chat templates come from strangers: they end soon, whatever they ask for, and no message makes a special token."""

import re

import pytest
from chat_templates import CHATML, TEMPLATES
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import SPECIAL, tiny_tokenizer

from minillm.text import template_meter
from minillm.text.chat_template import check_messages

HELLO = [{"role": "user", "content": "Hello"}]
LONG = "{% set l = range(99999)|list %}{% set s = 'x'*10**6 %}{% set t = 'x'*10**6 %}{% for i in l %}"
TWO = "{% set ns = namespace(x='ab', y='ab') %}{% for i in range(28) %}"
NESTED = TWO + "{% set ns.x = [ns.x,ns.x] %}{% set ns.y = [ns.y,ns.y] %}{% endfor %}"
TUPLES = TWO + "{% set ns.x = (ns.x,ns.x) %}{% endfor %}"
NINETY_NINE_TIMES = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
HOSTILE = {
    "loops in loops": LONG + "{% for b in l %}{% for c in l %}{% endfor %}{% endfor %}{% endfor %}",
    "a repeated text": "{{ 'x' * 10**10 }}",
    "a repeated list": "{{ [0] * 10**10 }}",
    "a long range": "{{ range(10**12)|list }}",
    "a wide number": "{{ '%999999999d' % 1 }}",
    "a wide format": "{{ '{:>999999999}'.format(1) }}",
    "squares of squares": NINETY_NINE_TIMES.replace("'ab'", "9") + "{% set ns.x = ns.x*ns.x %}{% endfor %}",
    "doubling with +": NINETY_NINE_TIMES + "{% set ns.x = ns.x+ns.x %}{% endfor %}",
    "doubling with ~": NINETY_NINE_TIMES + "{% set ns.x = ns.x~ns.x %}{% endfor %}",
    "doubling by replacing": NINETY_NINE_TIMES + "{% set ns.x = ns.x|replace('a','aa') %}{% endfor %}",
    "a list of itself": NINETY_NINE_TIMES + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "a list of itself as JSON": NINETY_NINE_TIMES + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
    "doubling in a block": NINETY_NINE_TIMES
    + "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
    "doubling by joining": NINETY_NINE_TIMES + "{% set ns.x = ns.x.join([ns.x,ns.x,ns.x]) %}{% endfor %}",
    "doubling by the method replace": NINETY_NINE_TIMES + "{% set ns.x = ns.x.replace('a','aaa') %}{% endfor %}",
    "a wide text": "{{ 'x'.center(10**10) }}",
    "wide JSON": "{{ [1]|tojson(indent=10**10) }}",
    "a number as bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "endless recursion": "{% macro f(n) %}{{ f(n-1) }}{{ f(n-1) }}{% endmacro %}{{ f(60) }}",
    "recursion that branches": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a recursive loop": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "lorem ipsum": "{{ lipsum(n=10**9) }}",
    "the class of a text": "{{ ''.__class__.__mro__ }}",
    "all classes": "{{ ().__class__.__base__.__subclasses__() }}",
    "a huge source": "{{ x }}" * 100_000,
    "many outputs": "{{x}}" * 10_000,
    "a chain of comparisons": "{{ a" + "<a" * 24_000 + " }}",
    "many arguments": "{{ f(" + "a," * 24_000 + ") }}",
    "loops around much": "{% for x in y %}" * 90 + "{{ x }}" * 3_000 + "{% endfor %}" * 90,
    "deep brackets": "{{ " + "(" * 24_000 + "1" + ")" * 24_000 + " }}",
    "deep blocks": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "a long sum": "{{ " + "+".join(["1"] * 24_000) + " }}",
    "many copies": LONG.replace("{% for", "{% set ns = namespace(l=[]) %}{% for")
    + "{% set ns.l = ns.l + [s[1:]] %}{% endfor %}",
    "many comparisons": LONG + "{% if s == t %}{% endif %}{% endfor %}",
    "much text": "{% for i in range(99999) %}" + "y" * 40_000 + "{% endfor %}",
    "another file": "{% include 'x' %}",
    "many words": "{{ ('a '*10**6).split() |length}}",
    "a changed message": "{{ messages.append(1) }}",
    "a block in itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "joining numbers": "{{ range(99999)|map('join', 'x'*10**6)|list }}",
    "a padded text": "{{ 'a'.ljust(99999999999) }}",
    "comparing nested lists": NESTED + "{{ ns.x == ns.y }}",
    "testing nested lists": NESTED + "{{ ns.x is eq ns.y }}",
    "finding a nested list": NESTED + "{{ [ns.x].index(ns.y) }}",
    "a change of nested lists": NESTED + "{% for a in [ns.x, ns.y] %}{{ loop.changed(a) }}{% endfor %}",
    "refusing with a nested list": NESTED + "{{ raise_exception(ns.x) }}",
    "a nested list in lower case": NESTED + "{{ ns.x|lower|length }}",
    "a nested list with something replaced": NESTED + "{{ ns.x|replace('a', 'b')|length }}",
    "a nested tuple as a key": TUPLES + "{{ {ns.x: 1}|length }}",
    "looking up a nested tuple": TUPLES + "{{ {}[ns.x] }}",
    "getting a nested tuple": TUPLES + "{{ {}.get(ns.x) }}",
    "nested namespaces": TWO + "{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    "nested values": TWO + "{% set ns.x = {'a': ns.x, 'b': ns.x}.values() %}{% endfor %}{{ ns.x }}",
    "nested lists in a list as JSON": "{{ " + "[" * 60 + "[0]*60000" + "]" * 60 + "|tojson(indent=16) }}",
    "wide years": "{{ strftime_now('%255Y'*300000) }}",
    "sorting long texts": "{{ (['A'*10**6]*3000)|sort|length }}",
    "the smallest of long texts": "{{ (['A'*10**6]*20000)|min|length }}",
    "rejecting long texts": "{% set a = 'a'*10**6 %}{{ ([a]*10000)|reject('eq', a[1:] ~ 'a')|first }}",
    "stripping": "{{ ('a'*10**6).strip('b'*10**6 ~ 'a')|length }}",
    "trimming": "{{ ('a'*10**6)|trim('b'*10**6 ~ 'a')|length }}",
    "searching from the end": "{{ ('a'*300000).rfind('a'*60000 ~ 'b' ~ 'a'*60000) }}",
    "a rest of large numbers": "{{ ('f'*10**6)|int(0,16) % ('f'*500000)|int(0,16) > 1 }}",
    "dividing large numbers": "{{ ('f'*10**6)|int(0,16) // ('f'*500000)|int(0,16) > 1 }}",
    "testing a division": "{{ ('f'*10**6)|int(0,16) is divisibleby(('f'*500000)|int(0,16)) }}",
    "a test with a format": "{{ '%999999999d' is odd }}",
    "rounding a number to millions": "{{ 5|round(-10**7) }}",
    "rounding a constant to millions": "{{ 5|round(-10000000) }}",
    "rounding up": "{{ 5|round(10**7,'ceil') }}",
    "rounding a text": "{{ 'x'|round(9, 'ceil') }}",
    "a list of a text": "{{ ('\U0001f600'*24000000)|list|length }}",
    "words of a text": "{% set ns = namespace(l=[]) %}{% set t = '\U0001f600 '*900000 %}{% for i in range(99) %}"
    "{% set ns.l = ns.l + [t.split()] %}{% endfor %}",
    "many empty lists": "{% set ns = namespace(x=0) %}{% for i in range(99999) %}{% set ns.x = [ns.x,"
    + "[]," * 9000 + "] %}{% endfor %}",
    "many signs": "{{ " + "-" * 48_000 + "1 }}",
}  # fmt: skip


def failure(template: str, messages: list = HELLO) -> str:
    with pytest.raises(ValueError, match=r"^the chat template failed: ") as caught:
        tiny_tokenizer(template).apply_chat_template(messages)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_template_is_refused(case, monkeypatch):
    monkeypatch.setattr(template_meter, "SECONDS", 0.5)  # some are ended only by the clock
    failure(HOSTILE[case])


@pytest.mark.parametrize(
    "template, expected",
    [("{{ raise_exception('no system role') }}", "no system role"), ("{% if %}", "Expected an expression"),
     ("{{ nothing.at.all }}", "undefined"), ("{{ 1 / 0 }}", "division by zero"), ("{{ [] | first + 1 }}", "No first"),
     ("{{ 'a' | nosuch }}", "No filter named 'nosuch'"), ("{{ 'a' | int + 'b' }}", "unsupported operand"),
     ("{{ raise_exception('two\nlines') }}", "two lines")],
)  # fmt: skip
def test_a_template_that_fails_says_why(template, expected):
    assert expected in failure(template)


@pytest.mark.parametrize(
    "messages",
    [[], None, "Hello", [1], [{}], [{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": None}],
     [{"role": 1, "content": "x"}], [{"role": "user", "content": ["x"]}], {"role": "user", "content": "x"}],
    ids=str,
)  # fmt: skip
def test_messages_are_checked(messages):
    with pytest.raises(ValueError, match=r"^messages: expected"):
        check_messages(messages)


def test_without_a_template_there_is_no_chat():
    with pytest.raises(ValueError, match="no chat template"):
        tiny_tokenizer(None).apply_chat_template(HELLO)


def test_an_empty_template_is_none():
    with pytest.raises(ValueError, match="no chat template"):
        tiny_tokenizer("").apply_chat_template(HELLO)


PARTS = [SPECIAL[1][:cut] for cut in range(1, 11)] + [SPECIAL[1][cut:] for cut in range(1, 10)]
FRAGMENTS = st.sampled_from([*SPECIAL, *PARTS, "<|IM_END|>", "< |im_end|>", ">|dne_mi|<", "\ufdd0", " ", "\n", "x"])
TEXTS = st.lists(FRAGMENTS, max_size=4).map("".join)
SLOPPY = {
    "as it is": "{% for m in messages %}{{ m.content }}{% endfor %}",
    "stripped": "{% for m in messages %}{{ m.content.strip() }}{% endfor %}",
    "lower case": "{% for m in messages %}{{ m.content | lower }}{% endfor %}",
    "sliced": "{% for m in messages %}{{ m.content[1:-1] }}{% endfor %}",
    "without spaces": "{% for m in messages %}{{ m.content.replace(' ', '') }}{% endfor %}",
    "backwards": "{% for m in messages %}{{ m.content | reverse }}{% endfor %}",
    "split and joined": "{{ messages | map(attribute='content') | join('') | replace('x', '') }}",
    "the end from the template": "{% for m in messages if m.content %}<|im_{{ m.content }}end|>{% endfor %}",
    "role and content": "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}",
}


@pytest.mark.parametrize("name", SLOPPY)
@given(messages=st.lists(st.fixed_dictionaries({"role": TEXTS, "content": TEXTS}), min_size=1, max_size=3))
def test_no_message_makes_a_special_token(name, messages):
    ids = tiny_tokenizer(SLOPPY[name]).apply_chat_template(messages)
    assert not {0, 1} & set(ids)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_messages_are_kept_as_they_are_and_the_template_has_its_tokens(texts):
    tokenizer = tiny_tokenizer(CHATML)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": text} for text in texts])
    assert [token for token in ids if token < 2] == [0, 1] * len(texts) + [0]
    shown = [text.replace("\ufdd0", "\ufffd") for text in texts]
    whole = "".join(f"{SPECIAL[0]}user\n{text}{SPECIAL[1]}\n" for text in shown) + f"{SPECIAL[0]}assistant\n"
    assert tokenizer.decode(ids) == whole


def test_a_generation_block_and_the_date_change_nothing_else():
    template = "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ strftime_now('%%') }}"
    tokenizer = tiny_tokenizer(template)
    assert re.fullmatch("Hello%", tokenizer.decode(tokenizer.apply_chat_template(HELLO)))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_forms_of_real_templates_run(name):
    assert tiny_tokenizer(TEMPLATES[name]).apply_chat_template(HELLO)
