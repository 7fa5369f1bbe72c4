"""Chat templates come from strangers: a hostile one is ended soon, and no message makes a special token."""

import re

import pytest
from chat_templates import CHATML, TEMPLATES
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import SPECIAL, tiny_tokenizer

from minillm.text import template_sandbox
from minillm.text.messages import normal_messages

HELLO = [{"role": "user", "content": "Hello"}]
NINETY_NINE_TIMES = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
NESTED = (  # two lists of 2**28 entries, made of 28 lists of two
    "{% set ns = namespace(x='ab', y='ab') %}{% for i in range(28) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
)
TOO_LONG = {
    "loops in loops": "{% set l = range(99999)|list %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}",
    "a list of itself": NINETY_NINE_TIMES + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "comparing nested lists": NESTED + "{{ ns.x == ns.y }}",
    "stripping": "{{ ('a'*10**6).strip('b'*10**6 ~ 'a')|length }}",
    "rounding a constant, while compiling": "{{ 5|round(-10000000) }}",
    "a huge source": "{{ x }}" * 100_000,
}
TOO_LARGE = {
    "a repeated text": "{{ 'x' * 10**10 }}",
    "a repeated list": "{{ [0] * 10**10 }}",
    "a wide number": "{{ '%999999999d' % 1 }}",
    "a wide format": "{{ '{:>999999999}'.format(1) }}",
    "a wide test": "{{ '%999999999d' is odd }}",
    "a wide text": "{{ 'x'.center(10**10) }}",
    "wide JSON": "{{ [1]|tojson(indent=10**10) }}",
    "wide years": "{{ strftime_now('%255Y'*300000) }}",
    "a number as bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "doubling with +": NINETY_NINE_TIMES + "{% set ns.x = ns.x+ns.x %}{% endfor %}",
    "doubling with ~": NINETY_NINE_TIMES + "{% set ns.x = ns.x~ns.x %}{% endfor %}",
    "doubling by joining": NINETY_NINE_TIMES + "{% set ns.x = ns.x.join([ns.x,ns.x,ns.x]) %}{% endfor %}",
    "doubling in a block": NINETY_NINE_TIMES
    + "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
    "many copies": "{% set ns = namespace(l=[]) %}{% set s = 'x'*10**6 %}{% for i in range(99999) %}"
    "{% set ns.l = ns.l + [s[1:]] %}{% endfor %}",
    "a list of a text": "{{ ('\U0001f600'*24000000)|list|length }}",
    "much text": "{% for i in range(99999) %}" + "y" * 40_000 + "{% endfor %}",
    "three million characters": "{{ 'x' * 3 * 10**6 }}",
}
FORBIDDEN = {
    "a long range": ("{{ range(10**12)|list }}", "Range too big"),
    "the class of a text": ("{{ ''.__class__.__mro__ }}", "'__class__' of 'str' object is unsafe"),
    "all classes": ("{{ ().__class__.__base__.__subclasses__() }}", "'__class__' of 'tuple' object is unsafe"),
    "the class by a format": ("{{ '{0.__class__.__mro__}'.format('') }}", "'__class__' of 'str' object is unsafe"),
    "a changed message": ("{{ messages.append(1) }}", "'append' of 'list' object is unsafe"),
    "another file": ("{% include 'x' %}", "no loader"),
    "endless recursion": ("{% macro f(n) %}{{ f(n-1) }}{{ f(n-1) }}{% endmacro %}{{ f(60) }}", "recursion depth"),
    "a recursive loop": ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "recursion depth"),
    "a block in itself": ("{% block a %}{{ self.a() }}{% endblock %}", "recursion depth"),
    "deep brackets": ("{{ " + "(" * 24_000 + "1" + ")" * 24_000 + " }}", "recursion depth"),
    "deep blocks": ("{% if 1 %}" * 2000 + "{% endif %}" * 2000, "recursion depth"),
    "many signs": ("{{ " + "-" * 48_000 + "1 }}", "recursion depth"),
}  # fmt: skip


def failure(template: str, messages: list = HELLO) -> str:
    with pytest.raises(ValueError, match=r"^the chat template failed: ") as caught:
        tiny_tokenizer(template).apply_chat_template(messages)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


AT_ONCE = ["loops in loops", "rounding a constant, while compiling"]  # in plain pytest: each takes its second


@pytest.mark.parametrize("case", [pytest.param(n, marks=[] if n in AT_ONCE else pytest.mark.slow) for n in TOO_LONG])
def test_a_template_that_runs_long_is_ended(case, monkeypatch):
    monkeypatch.setattr(template_sandbox, "CPU_SECONDS", 1)
    assert failure(TOO_LONG[case]).endswith("it needs more than 1 second of processor time")


SECONDS_LONG = ["a list of a text"]


@pytest.mark.parametrize("case", [pytest.param(n, marks=[pytest.mark.slow] * (n in SECONDS_LONG)) for n in TOO_LARGE])
def test_a_template_that_fills_the_memory_is_refused(case):
    """macOS does not limit memory: there the time ends such a template, or its text is too long."""
    reason = failure(TOO_LARGE[case]).removeprefix("the chat template failed: it ")
    assert reason.startswith(("needs more than 512 MB", "makes ", "needs more than 2 seconds"))


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_a_template_may_not_do(case):
    template, expected = FORBIDDEN[case]
    assert expected in failure(template)


@pytest.mark.parametrize(
    "template, expected",
    [("{{ raise_exception('no system role') }}", "no system role"), ("{% if %}", "Expected an expression"),
     ("{{ nothing.at.all }}", "undefined"), ("{{ 1 / 0 }}", "division by zero"), ("{{ [] | first + 1 }}", "No first"),
     ("{{ 'a' | nosuch }}", "No filter named 'nosuch'; the sandbox has what jinja2 and transformers offer (tojson"),
     ("{{ 'a' is nosuch }}", "No test named 'nosuch'; the sandbox has what"),
     ("{% do x %}", "unknown tag 'do'; the sa"), ("{{ 'a' | int + 'b' }}", "unsupported operand"),
     ("{{ '\\ud800' }}", "it makes half a surrogate pair"), ("\ud800", "it makes half a surrogate pair"),
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
    with pytest.raises(ValueError, match=r"^messages: .*expected"):
        normal_messages(messages)


@pytest.mark.parametrize(
    "half", [{"content": "a\ud800"}, {"extra": ["\udfff"]}, {"role": "\ud800"}, {"\ud800": 1}], ids=ascii
)
def test_half_a_surrogate_pair_in_a_message(half):
    with pytest.raises(ValueError, match=r"^messages: a text contains half a surrogate pair"):
        tiny_tokenizer("{{ messages }}").apply_chat_template([HELLO[0] | half])


def test_without_a_template_there_is_no_chat():
    with pytest.raises(ValueError, match="no chat template"):
        tiny_tokenizer(None).apply_chat_template(HELLO)


def test_an_empty_template_counts_as_none():
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
    whole = "".join(f"{SPECIAL[0]}user\n{text}{SPECIAL[1]}\n" for text in texts) + f"{SPECIAL[0]}assistant\n"
    assert tokenizer.decode(ids) == whole


def test_a_generation_block_and_the_date_change_nothing_else():
    template = "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ strftime_now('%%') }}"
    tokenizer = tiny_tokenizer(template)
    assert re.fullmatch("Hello%", tokenizer.decode(tokenizer.apply_chat_template(HELLO)))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_forms_of_real_templates_run(name):
    assert tiny_tokenizer(TEMPLATES[name]).apply_chat_template(HELLO)
