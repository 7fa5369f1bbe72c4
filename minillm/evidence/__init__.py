"""Evidence: an article's sentences and the papers' figures, held against the engine and against simulations."""
