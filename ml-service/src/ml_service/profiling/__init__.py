"""Say what a dataset's columns hold: types, ranges, categories, a preview.

Judges nothing: a file that cannot be read never gets here.
"""
