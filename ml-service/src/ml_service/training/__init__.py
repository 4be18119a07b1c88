"""Learn a model from a table: split, encode, fit, evaluate; pure and seeded.

Reads no files and writes none; artifacts/ does.
"""
