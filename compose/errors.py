"""Why a command ends before its work is done."""


class Stopped(Exception):
    """The message is for the person at the terminal: what is, and what to do."""
