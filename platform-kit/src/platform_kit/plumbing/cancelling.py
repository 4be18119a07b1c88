import asyncio


def is_cancelled() -> bool:
    """Whether this task was told to end. redis 8.1 loses a cancellation that comes while its client connects, so a
    loop that runs until it is cancelled has to look."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
