"""Models and their versions: what was trained, from what, and how good it is. A version never changes.

It does not train and it does not deploy.
"""
