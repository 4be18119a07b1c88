"""Work that takes longer than a request: its queue, its leases, its progress, its end.

It does not know what a job does; each kind brings a handler (see `handler.py`).
"""
