import pytest

from platform_kit.plumbing.rates import in_words, rate


class TestRate:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("3000/minute", "3000 requests per minute"),
            ("20 per 10 minutes", "20 requests per 10 minutes"),
            ("1/2hours", "1 requests per 2 hours"),
        ],
    )
    def test_reads_amount_and_period(self, text: str, words: str) -> None:
        assert in_words(rate(text)) == words

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "fast",
            "10",
            "10/fortnight",
            "0/minute",
            "-1/minute",
            "1/second, 2/minute",
            "1/second;2/minute",
        ],
    )
    def test_names_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="such as 3000/minute"):
            rate(text)
