"""SpecialTokens: what the files around a tokenizer say about its special and added tokens, in one settled view.

A tokenizer finds *added* tokens in a text before it cuts the text into words. *Special* ones represent no text: they
are left out of answers, and a user cannot type them. Some have a *name*, such as `bos_token`, which chat templates use.

`tokenizer.json` lists added tokens, but other files can add more, or make one of them special. The view is made by
`minillm/loading/side_files.py` for a folder, and by `minillm/loading/gguf/tokenizer.py` for a GGUF file.
"""

from collections.abc import Collection, Mapping, Sequence
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

    def add_to(self, library: Any, control_ids: Collection[int]) -> None:
        """Give these tokens to the library's tokenizer. Those that it lacks get the next free ids, in this order.

        A token is special if anything says so: tokenizer.json, this view, or `control_ids`.
        """
        from tokenizers import AddedToken

        own = library.get_added_tokens_decoder()
        known = {token.content: token for token in own.values()}
        tokens = known | {token["content"]: AddedToken(**token) for token in self.declared}
        for token in self.wanted:
            tokens.setdefault(token["content"], AddedToken(**token))
        ends = {text for text in self.ends if text in tokens or library.token_to_id(text) is not None}
        for text in ends - tokens.keys():
            tokens[text] = AddedToken(text, normalized=False)
        special = ends | {token["content"] for token in [*self.declared, *self.wanted] if token["special"]}
        special |= {token.content for number, token in own.items() if token.special or number in control_ids}
        same = {text for text, token in known.items() if token is tokens[text] and token.special == (text in special)}
        changed = [token for text, token in tokens.items() if text not in same]
        for token in changed:
            token.special = token.content in special
        library.add_tokens(changed)
