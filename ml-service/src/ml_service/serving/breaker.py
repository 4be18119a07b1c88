"""Leaves alone what fails again and again, and tries it anew after a while."""

import time

FAILURES = 3
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


class Breaker:
    """Opens after some failures in a row. Then one trial at a time is let through, each after a longer pause."""

    def __init__(self, *, failures: int = FAILURES, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._limit, self._longest = failures, longest_seconds
        self._failed = 0
        self._pause = SHORTEST_SECONDS
        self._try_again = 0.0
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        return self._failed >= self._limit

    @property
    def seconds_left(self) -> float:
        """Until something may be tried; 0 while it is closed."""
        return max(0.0, self._try_again - time.monotonic()) if self.is_open else 0.0

    def admits(self) -> bool:
        """Whether to try. Of those that ask while it is open only one tries; the others go on without waiting."""
        if not self.is_open:
            return True
        if self.seconds_left:
            return False
        self._try_again = time.monotonic() + self._pause
        self._is_trying = True
        return True

    def succeeded(self) -> None:
        self._failed, self._pause, self._is_trying = 0, SHORTEST_SECONDS, False

    def failed(self) -> None:
        """Those that were under way together when it opened are one failure: the pause grows with each trial only."""
        is_news = not self.is_open or self._is_trying or not self.seconds_left
        self._failed += 1
        self._is_trying = False
        if self.is_open and is_news:
            self._try_again = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, self._longest)
