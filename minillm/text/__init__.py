"""From text to token ids and back: tokenizers, chat templates, and streams that never cut a character."""
