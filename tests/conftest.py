"""Settings of the whole test run: short shape errors, and no deadline, since the machine may be busy."""

import jaxtyping
from hypothesis import settings

jaxtyping.config.update("jaxtyping_remove_typechecker_stack", True)
settings.register_profile("minillm", deadline=None, max_examples=40)
settings.load_profile("minillm")
