"""The bubble: how long the stages of a pipeline idle.

Where the engine does it: `pipeline_bubble` in minillm/estimate/sharding.py, and minillm/parallel/pipeline.py runs one
(Huang et al., GPipe, 1811.06965, section 2). With 3 stages and 4 micro-batches, where a dot is an idle slot:

    stage 0    0  1  2  3  .  .
    stage 1    .  0  1  2  3  .
    stage 2    .  .  0  1  2  3

docs/parallel.md. Article: Optimization Strategies, 5.
"""


# %% learner
def pipeline_bubble(stages: int, micro_batches: int, layers: int) -> float:
    """Return the fraction of their time in which the stages idle.

    stages: the number of stages, at least 1.
    micro_batches: the number of micro-batches, at least 1. Each goes through all stages.
    layers: the layers of the model, at least as many as stages. They are shared as evenly as possible, so the largest
        stage has layers / stages of them, rounded up. Every layer takes the same time for a micro-batch.
    returns: a number from 0 to 1. All stages wait for the largest one: a slot is the time of its layers. The pipeline
        takes micro_batches + stages - 1 slots. A stage works for the time of its own layers, once for each micro-batch.
    """
    # %% solution
    largest = -(-layers // stages)  # layers of the largest stage: the length of a slot
    slots = micro_batches + stages - 1
    work, time = micro_batches * layers, slots * largest * stages  # of all stages, in layers of one micro-batch
    return 1 - work / time


# %% hints
HINTS = (
    "Measure time in layers of one micro-batch. Compare the work of all stages with the time that they have together. "
    "What is missing is the bubble. In the picture: 12 of 18 slots are work.",
    "All are single numbers. The unit of work and time is one layer, for one micro-batch.",
    "1. The layers of the largest stage, rounded up. 2. slots = micro_batches + stages - 1. 3. time of all stages = "
    "slots * largest * stages. 4. work = micro_batches * layers. 5. 1 - work / time.",
    "largest = -(-layers // stages)",
)


# %% check
LESSON = 17
CONCEPTS = ("parallel", "estimate")


def cases(random):
    for numbers in (
        (1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 4, 3), (3, 4, 30), (1, 4, 7), (2, 2, 3), (2, 1, 3),
        (4, 16, 32), (4, 16, 30),
    ):  # fmt: skip
        yield dict(zip(("stages", "micro_batches", "layers"), numbers, strict=True))
    for _ in range(4):
        stages, micro_batches, more = (int(number) for number in random.integers((2, 1, 0), (7, 20, 20)))
        yield {"stages": stages, "micro_batches": micro_batches, "layers": stages + more}


def slots_counted(inputs, result, run):
    """The fraction is that of a count, layer by layer, over all stages and slots."""
    stages, micro_batches, layers = inputs["stages"], inputs["micro_batches"], inputs["layers"]
    sizes = [layers * (stage + 1) // stages - layers * stage // stages for stage in range(stages)]
    ends = max(stage + micro_batch + 1 for stage in range(stages) for micro_batch in range(micro_batches))
    return abs(result - (1 - sum(sizes) * micro_batches / (ends * max(sizes) * stages))) < 1e-9


def more_micro_batches_idle_less(inputs, result, run):
    """Twice as many micro-batches never idle more."""
    return run(micro_batches=2 * inputs["micro_batches"]) <= result + 1e-12


PROPERTIES = (slots_counted, more_micro_batches_idle_less)


def engine(stages, micro_batches, layers):
    from minillm.estimate.sharding import pipeline_bubble

    return float(pipeline_bubble(stages, micro_batches, layers))
