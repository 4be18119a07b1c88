class StartFailed(Exception):
    """The platform cannot start; the sentence says what is in the way and what to do about it."""


class NotReady(Exception):
    """A process runs but cannot do its work yet."""
