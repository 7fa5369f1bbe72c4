"""`mpiexec -n 4 minillm batch`: rank 0 reads, deals out and writes. The other ranks have the model, and answer."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minillm.cli.batch_report import Done, Problems, answer_record, asked_of, settings_of, tell
from minillm.cli.options import encoded, layers_from
from minillm.cli.parallel import check_launcher, facts_of
from minillm.parallel.dealing import deal, dealt, end, give
from minillm.parallel.ranks import Ranks, world
from minillm.support.wording import failure_text

Read = Callable[[], tuple[list[Any], Problems]]


def answer_on_ranks(options: argparse.Namespace, read: Read) -> int:
    """Answer the lines on all ranks. A rank that cannot go on ends all of them, with one line that names it.

    Args:
        options: of the command.
        read: reads the prompts, on rank 0.
    """
    ranks = world()
    check_launcher(ranks.size)
    try:
        ranks.agree(facts_of(options))
        return _write(ranks, options, read) if ranks.rank == 0 else _answer(ranks, options)
    except OSError as problem:
        ranks.fail(failure_text(problem))
    except ValueError as problem:
        ranks.fail(str(problem))
    except MemoryError:
        ranks.fail("not enough memory for this model or context; use a smaller one, or fewer ranks")


def _write(ranks: Ranks, options: argparse.Namespace, read: Read) -> int:
    """Deal out the lines that have no answer in the file of answers, and write the answers."""
    from minillm.serving.batch_files.answers import AnswerFile
    from minillm.support.progress import progress_on_stderr

    lines, problems = read()
    ranks.broadcast("the prompts can be read")
    asked = asked_of(lines, settings_of(options, _same_model(ranks, None)), options.model)
    with AnswerFile(Path(options.out)) as answers:
        answers.check_asked(asked)
        missing = [(line, asked[line.number][0]) for line in lines if line.number not in answers.answered]
        done = Done(len(answers.answered), len(lines))
        try:
            with progress_on_stderr() as report:
                report("answering", done.before, done.of)

                def take(result: dict[str, Any] | tuple[int, str]) -> None:
                    if isinstance(result, tuple):
                        problems.note(result[0], ValueError(result[1]))
                        return
                    answers.append(result)
                    done.count(len(result["tokens"]))
                    report("answering", done.before + done.now, done.of)

                steps = deal(ranks, missing, take)
        except KeyboardInterrupt:
            ranks.fail(f"interrupted; {done.stopped()}", 130)
        answers.put_in_order()
    ranks.barrier()  # the other ranks wait: one that ends long before the others has failed
    tell(sum(steps), done, problems, options)
    return 2 if problems.found else 0


def _answer(ranks: Ranks, options: argparse.Namespace) -> int:
    """Answer the lines that rank 0 deals to this one, in one batch that others join while it runs."""
    from minillm.batching import Engine
    from minillm.loading import open_checkpoint
    from minillm.loading.fingerprint import fingerprint
    from minillm.loading.load import load
    from minillm.serving.batch_files.run import answer_lines

    ranks.broadcast()  # rank 0 has read the prompts
    _same_model(ranks, fingerprint(open_checkpoint(options.model)))
    model = load(options.model, options.backend, options.dtype, options.weights, layers_from(options))
    engine, fingerprints = Engine(model, cache_dtype=options.kv_cache), dict[int, str]()

    def lines() -> Iterator[Any]:
        for line, of_request in dealt(ranks):
            fingerprints[line.number] = of_request
            yield line

    def note(number: int, problem: ValueError) -> None:
        give(ranks, (number, str(problem)))

    for line, request in answer_lines(engine, lines(), lambda line: encoded(model, line, options.raw), note, queue=1):
        give(ranks, answer_record(line, request, fingerprints.pop(line.number), options.model))
    end(ranks, engine.statistics.steps)
    ranks.barrier()
    return 0


def _same_model(ranks: Ranks, fingerprint: str | None) -> str:
    """Return the fingerprint of the model, which must be the same on all ranks that load it.

    Raises:
        ValueError: two hosts have files of different models under this name.
    """
    told = {rank: its for rank, its in enumerate(ranks.gather(fingerprint)) if its is not None}
    for rank, its in told.items():
        if its != told[1]:
            raise ValueError(f"the ranks disagree: the model's files on rank {rank} are not those on rank 1")
    return str(told[1])
