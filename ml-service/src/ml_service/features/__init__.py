"""Turn rows into the matrix that a model reads: the same code in training and in serving.

Knows no estimators. The serving half does without pandas.
"""
