"""How any of our processes runs: settings, logs, problems, health, metrics, storage, Celery.

It knows no business words and no machine learning.
"""
