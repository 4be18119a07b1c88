"""What the services agree on (`contract`) and how any of our processes runs (`plumbing`).

It holds nothing that only one service uses, and nothing that takes a model or a database session.
"""

__version__ = "0.1.0"
