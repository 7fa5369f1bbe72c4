"""Text: characters to token ids and back. Tokenizers, chat templates, and streams that never cut a character."""
