"""The data plane: reads tables, trains models and answers predictions."""

__version__ = "0.1.0"
