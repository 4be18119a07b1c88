"""Predictions asked for through the API: passed on to ml-service, and remembered.

It computes nothing; the answer is ml-service's own. Predictions are not written into the audit log: there are too many,
and they have their own history.
"""
