"""What the services promise each other: plain data, pydantic and the standard library only.

It does no I/O. A change here changes a golden file in `tests/contract/golden/`.
"""
