"""Native model files: written after a training, loaded to predict. Never pickle.

Fetches and stores nothing: files are in a local directory.
"""
