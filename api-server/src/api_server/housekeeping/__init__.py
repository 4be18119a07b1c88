"""Chores that beat starts and the `general` worker does, each one a job with a result.

It does not decide when: the schedule is in `worker.py`.
"""
