"""Texts that can be sent and kept."""

HALF_A_CHARACTER = (
    "it holds half a surrogate pair, such as \\ud83d alone; send both halves, or the character itself"
)


def is_whole_text(text: str) -> bool:
    """Whether UTF-8 can say it: JSON can write half a surrogate pair, which nothing behind us could send or keep."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
