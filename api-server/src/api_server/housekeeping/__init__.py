"""Chores that the `general` worker does at times, each one a job with a result.

It does not keep time: beat does, at each chore's own interval (`worker.py`).
"""
