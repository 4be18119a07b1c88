class NotExplainable(Exception):
    """An answer cannot be explained; says why in a sentence for the caller."""
