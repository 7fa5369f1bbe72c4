"""Unsupported: what an engine raises for a call that it cannot do."""


class Unsupported(NotImplementedError):
    """Raised by an engine that cannot do what is asked. The call is refused and counted. It is not a failure.

    Example:
        >>> def truncate(cache, length):
        ...     raise Unsupported("a recorded window cannot be truncated")
    """
