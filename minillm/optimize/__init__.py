"""Making a model smaller or cheaper to run."""
