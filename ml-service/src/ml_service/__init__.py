"""The data plane: reads tables, trains models and answers predictions."""
