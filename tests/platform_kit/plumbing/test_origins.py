import pytest

from platform_kit.plumbing.origins import names_of, origin_of


class TestOriginOf:
    @pytest.mark.parametrize(
        ("url", "origin"),
        [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("https://ml.example.com/ml/", "https://ml.example.com"),
            ("https://ml.example.com:443", "https://ml.example.com"),
            ("http://ML.example.com:80/x?y", "http://ml.example.com"),
            ("http://[2001:db8::1]:8001/", "http://[2001:db8::1]:8001"),
        ],
    )
    def test_is_as_a_browser_writes_it(self, url: str, origin: str) -> None:
        assert origin_of(url) == origin


class TestNamesOf:
    @pytest.mark.parametrize(
        ("origin", "names"),
        [
            ("http://127.0.0.1:8001", ("http://127.0.0.1:8001", "http://localhost:8001")),
            ("http://localhost:8001", ("http://localhost:8001", "http://127.0.0.1:8001")),
            ("https://localhost.example.com", ("https://localhost.example.com",)),
        ],
    )
    def test_has_two_for_this_machine(self, origin: str, names: tuple[str, ...]) -> None:
        assert names_of(origin) == names
