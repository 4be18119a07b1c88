"""Starting trainings: which algorithm, with which parameters, on which data.

It does not fit anything; a worker does.
"""
