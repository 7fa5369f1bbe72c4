"""The worker: a separate process that runs a learner's code. No reader of the engine needs this folder."""
