"""Claims: the article's words, a verdict of a known kind, and what it rests on."""

import pytest

from minillm.classroom.claims import claim


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [("true if", "True if it rains."), ("false", "False: it rains."), ("not checkable", "Not checkable: it rains.")],
)
def test_a_claim_is_quoted_and_judged(verdict, sentence, capsys):
    claim("rain", "the sun shines", verdict, "it rains.")
    assert capsys.readouterr().out == f'[rain]\n  The article: "the sun shines"\n  {sentence}\n'


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="expected one of true, true if, imprecise, false, not checkable"):
        claim("rain", "the sun shines", "maybe", "it rains.")
