"""A file of prompts in, a file of answers out, one line each; an interrupted run can be resumed by the same command."""
