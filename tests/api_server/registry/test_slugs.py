import pytest

from api_server.registry.slugs import slug_of


class TestSlugOf:
    @pytest.mark.parametrize(
        ("name", "slug"),
        [
            ("churn", "churn"),
            ("Churn (EU) v2", "churn-eu-v2"),
            ("  Prévision  été ", "prevision-ete"),
            ("snake_case stays", "snake_case-stays"),
            ("模型", "model"),
            ("--", "model"),
            ("demo_model_1", "model-demo_model_1"),
            ("6f1c1c1e-6f0e-4c62-9a57-0a3e6f0b7a11", "model-6f1c1c1e-6f0e-4c62-9a57-0a3e6f0b7a11"),
            ("6F1C1C1E6F0E4C629A570A3E6F0B7A11", "model-6f1c1c1e6f0e4c629a570a3e6f0b7a11"),
        ],
    )
    def test_reads_well_and_is_never_taken_for_an_id(self, name: str, slug: str) -> None:
        assert slug_of(name) == slug

    def test_is_not_too_long_for_a_url(self) -> None:
        assert len(slug_of("long name " * 40)) <= 80
