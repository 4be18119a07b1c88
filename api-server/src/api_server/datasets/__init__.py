"""Files to learn from: received, stored, versioned, and profiled by a job.

It does not read what is in them; a worker does.
"""
