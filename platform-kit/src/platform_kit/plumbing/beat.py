"""Celery's clock, which tells at each of its ticks that it goes on ticking."""

from typing import Any

from celery.beat import PersistentScheduler

from platform_kit.plumbing.liveness import touch


class LivingScheduler(PersistentScheduler):
    """Touches the file that `make_celery` keeps in the configuration as `alive_file`."""

    def tick(self, *arguments: Any, **named: Any) -> Any:
        pause = super().tick(*arguments, **named)
        touch(self.app.conf.get("alive_file"))
        return pause
