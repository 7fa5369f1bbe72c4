"""The process for a commit: minillm as it was at that commit, observed by this package.

    python -m minillm.bisection.commit_process JOB ANSWER

It runs in a folder with the commit's files, into which this package was copied.
"""

import json
import sys
from pathlib import Path

from minillm.bisection.local import greedy_tokens, observe
from minillm.bisection.observed import RowKey, Wanted
from minillm.bisection.schedule import parse
from minillm.bisection.transport import Job, write_observed


def main(job_file: str, answer: str) -> None:
    """Do the job, and write the answer."""
    import minillm

    job = Job.read(Path(job_file))
    model = minillm.load(job.model, backend=job.backend, dtype=job.dtype, weights=job.weights)
    if job.new_tokens:
        Path(answer).write_text(json.dumps(greedy_tokens(model, job.tokens, job.new_tokens)), encoding="utf-8")
        return
    wanted = Wanted(frozenset(RowKey(*numbers) for numbers in job.keep), job.cache_layer)
    write_observed(observe(model, parse(job.schedule), job.tokens, job.prompt_tokens, wanted), Path(answer))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError, MemoryError) as problem:
        sys.exit(" ".join(str(problem).split()) or type(problem).__name__)
