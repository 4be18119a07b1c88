class CorruptArtifact(Exception):
    """A model file is not what its manifest says, or cannot be read as what it claims to be."""
