"""Read an uploaded file into typed columns, or say precisely what is wrong with it.

Knows nothing of models, and fetches nothing: the file is already on the local disk.
"""
