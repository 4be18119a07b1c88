"""Answering predictions: which version, may the caller, is the row right, what does the model say.

It does not train, and it decides nothing about what is deployed: api-server's desired state does.
"""
