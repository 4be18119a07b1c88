"""The control plane: who may do what, what was uploaded, trained, registered and deployed. It owns the database."""

__version__ = "0.1.0"
