"""The heartbeat of an attempt, in a thread of its own: no download, upload or fit can hold it up."""

import threading
import time
from datetime import UTC, datetime

import structlog

from ml_service.jobs.control import ControlUnavailable, Fenced, JobControl, Refused
from platform_kit.contract.jobs import Claim, Heartbeat, LogLine, Progress

LIVE_SECONDS = 0.3
"""News is passed on at most this often."""
LONGEST_LOG_LINE = 4000
MOST_LINES_AT_ONCE = 200
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 0.2

log = structlog.get_logger(__name__)


class News:
    """What the next message to api-server will tell. The attempt adds to it while its heart takes from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: list[Progress] = []
        self._logs: list[LogLine] = []
        self._percent = 0.0

    def __bool__(self) -> bool:
        return bool(self._progress or self._logs)

    def progress(self, percent: float, stage: str, eta_seconds: float | None = None) -> None:
        """It never goes back, whatever the percentages of the stages say."""
        with self._lock:
            self._percent = max(self._percent, round(percent, 2))
            self._progress.append(Progress(percent=self._percent, stage=stage[:100], eta_seconds=eta_seconds))

    def log(self, message: str, level: str = "info") -> None:
        text = message.replace("\x00", "")[:LONGEST_LOG_LINE]  # the database takes no NUL
        with self._lock:
            self._logs.append(LogLine(at=datetime.now(UTC), level=level, message=text))

    def take(self, *, most_lines: int | None = None) -> tuple[list[Progress], list[LogLine]]:
        with self._lock:
            lines = len(self._logs) if most_lines is None else most_lines
            taken = self._progress, self._logs[:lines]
            self._progress, self._logs = [], self._logs[lines:]
        return taken

    def put_back(self, progress: list[Progress], logs: list[LogLine]) -> None:
        """The latest progress is enough; every log line counts."""
        with self._lock:
            self._progress = progress[-1:] + self._progress
            self._logs = logs + self._logs


class Heart:
    """Keeps the lease and tells the news; learns whether the job was cancelled or given to another attempt."""

    def __init__(self, control: JobControl, claim: Claim, worker: str, news: News) -> None:
        self._control, self._claim, self._worker, self._news = control, claim, worker, news
        # An answer that is lost on its way must leave time for two more beats.
        self._timeout_seconds = min(10.0, claim.lease_seconds / 3)
        self._woken = threading.Event()
        self._is_closed = False
        self._tells = True
        self._thread = threading.Thread(target=self._beat_until_closed, name="heart", daemon=True)
        self.is_cancelled = False
        self.is_fenced = False

    def start(self) -> None:
        """The first beat goes out at once: a cancel may have come between the claim and now."""
        self._thread.start()

    def wake(self) -> None:
        """Beat now: api-server may have something to say."""
        self._woken.set()

    def keep_news(self) -> None:
        """Beat on, but leave the news to the message that ends the attempt."""
        self._tells = False

    def close(self) -> None:
        """Beat no more. A beat that hangs is left to its timeout: nobody needs its answer."""
        self._is_closed = True
        self._woken.set()
        self._thread.join(CLOSE_SECONDS)

    def _beat_until_closed(self) -> None:
        while not self._is_closed and not self.is_fenced:
            self._woken.clear()
            try:
                is_answered = self._beat()
            except Exception:  # the edge of a thread: without it the lease would lapse in silence
                log.exception("heart.failed")
                is_answered = False
            self._rest(is_answered)

    def _beat(self) -> bool:
        progress, logs = self._news.take(most_lines=MOST_LINES_AT_ONCE) if self._tells else ([], [])
        beat = Heartbeat(worker=self._worker, attempt=self._claim.attempt, progress=progress, logs=logs)
        try:
            reply = self._control.heartbeat(self._claim.job_id, beat, timeout_seconds=self._timeout_seconds)
        except Fenced:
            self.is_fenced = True
            return True
        except Refused as refusal:
            # Telling it again would be refused again, and cost the lease.
            log.error("heart.news_refused", detail=str(refusal))
            return False
        except ControlUnavailable:
            # A long fit outlives an outage of api-server: the lease is renewed when it is back.
            self._news.put_back(progress, logs)
            return False
        self.is_cancelled = self.is_cancelled or reply.cancel_requested
        return True

    def _rest(self, is_answered: bool) -> None:
        """Until the next beat is due, there is news to tell, or somebody wakes the heart."""
        pause = self._claim.heartbeat_seconds
        due = time.monotonic() + (pause if is_answered else min(pause, RETRY_SECONDS))
        while (left := due - time.monotonic()) > 0:
            if self._woken.wait(min(left, LIVE_SECONDS)):
                return
            if is_answered and self._tells and self._news:
                return
