"""Wrong answers to `pipeline_bubble`."""


def _bubble(stages, micro_batches, layers, slots=None, largest=None):
    slots = micro_batches + stages - 1 if slots is None else slots
    largest = -(-layers // stages) if largest is None else largest
    return 1 - micro_batches * layers / (slots * largest * stages)


def stages_taken_as_equal(stages, micro_batches, layers):
    """The stages were taken as equal, (p - 1) / (m + p - 1). If they are not, all wait for the largest."""
    return _bubble(stages, micro_batches, layers, largest=layers / stages)


def rounded_down(stages, micro_batches, layers):
    """The layers of a stage were rounded down: the slot is as long as the largest stage, so round up."""
    return _bubble(stages, micro_batches, layers, largest=layers // stages)


def one_slot_too_many(stages, micro_batches, layers):
    """There is one slot too many: the last micro-batch enters when the others have, so there are m + p - 1 slots."""
    return _bubble(stages, micro_batches, layers, slots=micro_batches + stages)


def time_of_work(stages, micro_batches, layers):
    """That is the fraction of time in which the stages work. Return the other part, 1 minus it."""
    return 1 - _bubble(stages, micro_batches, layers)


def compared_with_the_work(stages, micro_batches, layers):
    """The idle time was divided by the time of the work: divide it by the whole time."""
    bubble = _bubble(stages, micro_batches, layers)
    return bubble / (1 - bubble)


def fills_but_does_not_drain(stages, micro_batches, layers):
    """Idle time at the end was not counted: stages idle while the pipeline fills, and again while it drains."""
    slots, largest = micro_batches + stages - 1, -(-layers // stages)
    idle = stages * (stages - 1) / 2
    waits = micro_batches * (1 - layers / (stages * largest)) * stages
    return (idle + waits) / (slots * stages)


def exchanged(stages, micro_batches, layers):
    """Stages and micro-batches are exchanged: more micro-batches must idle less."""
    slots, largest = micro_batches + stages - 1, -(-layers // stages)
    return 1 - layers / (slots * largest)


def one_after_the_other(stages, micro_batches, layers):
    """The micro-batches run one after the other, as if only one stage worked at a time: they overlap."""
    return _bubble(stages, micro_batches, layers, slots=micro_batches * stages)
