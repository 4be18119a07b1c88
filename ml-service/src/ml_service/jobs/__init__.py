"""What a worker does with a job: claim it, run it in a child, keep the lease, hand in the result.

It trains nothing itself, and never imports a machine learning library: a fork after OpenMP hangs.
"""
