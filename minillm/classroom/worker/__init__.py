"""The worker: a process of its own that runs a learner's code. No reader of the engine needs this folder."""
