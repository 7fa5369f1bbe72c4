"""SpecialTokens: what the files around a tokenizer say about its special and added tokens, in one settled view.

A tokenizer finds *added* tokens in a text before it cuts the text into words. *Special* ones represent no text: they
are left out of answers, and a user cannot type them. Some have a *name*, such as `bos_token`, which chat templates use.

`tokenizer.json` lists added tokens, but other files can add more, or make one of them special. The view is made by
`minillm/loading/side_files.py` for a folder, and by `minillm/loading/gguf/tokenizer.py` for a GGUF file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Token = Mapping[str, Any]  # arguments of tokenizers.AddedToken: "content", and flags such as "lstrip"


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens that a tokenizer must have besides those that its tokenizer.json lists.

    Attributes:
        named: the text of each token with a name, for example {"bos_token": "<s>"}.
        declared: added tokens, whose flags replace those in tokenizer.json.
        wanted: added tokens, whose flags count only if nothing else lists them.
        ends: texts that end an answer, and are special, if they are tokens at all.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    declared: Sequence[Token] = ()
    wanted: Sequence[Token] = ()
    ends: Sequence[str] = ()
