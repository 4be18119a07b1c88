"""Celery as a doorbell: it tells a worker that a job may be waiting. Postgres says whether one is."""

from celery import Celery
from celery.signals import heartbeat_sent, setup_logging
from kombu import Exchange
from kombu import Queue as KombuQueue

from platform_kit.contract.jobs import Queue
from platform_kit.plumbing.liveness import touch
from platform_kit.plumbing.logging import set_up_logging
from platform_kit.plumbing.settings import KitSettings

VISIBILITY_TIMEOUT_SECONDS = 6 * 3600
"""Long on purpose: a message that comes back is a second doorbell, and the reaper rings sooner."""


BEAT_SECONDS = 5
"""The clock ticks at least so often; housekeeping is due much more seldom."""


def make_celery(service: str, settings: KitSettings) -> Celery:
    """Make a Celery application: JSON only, no result backend, every publish bounded in time."""
    app = Celery(service, broker=settings.broker_url.get_secret_value())
    app.conf.update(
        # Each has an exchange and a key of its own: with the defaults one message could reach all three.
        task_queues=[KombuQueue(str(name), Exchange(str(name)), routing_key=str(name)) for name in Queue],
        task_default_queue=str(Queue.GENERAL),
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_retry=True,
        broker_connection_max_retries=None,  # for as long as it takes
        beat_scheduler="platform_kit.plumbing.beat:LivingScheduler",
        beat_max_loop_interval=BEAT_SECONDS,
        alive_file=settings.alive_file,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
        },
        task_publish_retry=False,
        timezone="UTC",
    )

    @setup_logging.connect(weak=False)
    def _logging(**_: object) -> None:
        set_up_logging(service, level=settings.log_level, log_format=settings.log_format)

    @heartbeat_sent.connect(weak=False)
    def _alive(**_: object) -> None:
        """Comes from the loop that takes messages, every two seconds while it is connected to the broker."""
        touch(settings.alive_file)

    return app
