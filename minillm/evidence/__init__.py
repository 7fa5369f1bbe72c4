"""Evidence: claims of an article and figures of papers, checked by the engine and by simulations."""
