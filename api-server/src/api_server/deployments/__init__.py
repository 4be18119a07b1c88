"""Which version answers behind which endpoint, since when, and why.

It says what should be served; the replicas of ml-service fetch that, prove it and report back.
"""
