"""Predictions asked for through the API: passed on to ml-service, and remembered.

It computes nothing; the answer is ml-service's own.
"""
