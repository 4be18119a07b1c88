import pytest

from ml_service.explanations.reasons import reasons_of, rounded
from platform_kit.contract.inputs import FieldContract, Value
from platform_kit.contract.prediction import Scale
from platform_kit.contract.schema import ColumnType


def fields(*types: ColumnType) -> list[FieldContract]:
    return [FieldContract(name=f"f{number}", type=kind, nullable=True) for number, kind in enumerate(types)]


def sentence(kind: ColumnType, value: Value, contribution: float = 0.214_6, **facts: object) -> str:
    asked: dict[str, object] = {"scale": Scale.LOG_ODDS, "subject": "yes"} | facts
    (found,) = reasons_of(fields(kind), [value], [contribution], **asked)  # type: ignore[arg-type]
    return found


class TestReasonsOf:
    @pytest.mark.parametrize(
        ("kind", "value", "written"),
        [
            (ColumnType.STRING, "lyon", 'f0 = "lyon"'),
            (ColumnType.INTEGER, 2026.0, "f0 = 2026"),
            (ColumnType.INTEGER, 0.0, "f0 = 0"),
            (ColumnType.DECIMAL, 2134.567_89, "f0 = 2134.57"),
            (ColumnType.DECIMAL, 3.0, "f0 = 3"),
            (ColumnType.BOOLEAN, True, "f0 = true"),
            (ColumnType.BOOLEAN, False, "f0 = false"),
            (ColumnType.DATETIME, 86_400.0, "f0 = 1970-01-02"),
            (ColumnType.DATETIME, 3600.0, "f0 = 1970-01-01T01:00:00Z"),
            (ColumnType.STRING, None, "f0 is missing, which"),
        ],
    )
    def test_write_a_value_as_its_sender_would(self, kind: ColumnType, value: Value, written: str) -> None:
        assert sentence(kind, value) == f"{written} raised the log-odds of yes by 0.215"

    @pytest.mark.parametrize(
        ("scale", "subject", "expected"),
        [
            (Scale.LOG_ODDS, True, "f0 = 1 lowered the log-odds of true by 0.5"),
            (Scale.PROBABILITY, 2, "f0 = 1 lowered the probability of 2 by 0.5"),
            (Scale.TARGET, "spent", "f0 = 1 lowered spent by 0.5"),
        ],
    )
    def test_name_the_score_that_moved(self, scale: Scale, subject: object, expected: str) -> None:
        assert sentence(ColumnType.INTEGER, 1.0, -0.5, scale=scale, subject=subject) == expected

    def test_are_the_five_largest_first_without_those_that_did_nothing(self) -> None:
        contributions = [0.1, -7.0, 0.0, 3.0, -3.0, 2.0, 1.0]

        found = reasons_of(
            fields(*[ColumnType.INTEGER] * 7), [1.0] * 7, contributions, scale=Scale.TARGET, subject="y"
        )
        few = reasons_of(
            fields(*[ColumnType.INTEGER] * 2), [1.0] * 2, [0.0, 0.0], scale=Scale.TARGET, subject="y"
        )

        assert [each[:2] for each in found] == ["f1", "f3", "f4", "f5", "f6"]
        assert few == []

    def test_cut_long_texts(self) -> None:
        found = sentence(ColumnType.STRING, "x" * 500, subject="y" * 500)

        assert f' = "{"x" * 62}… raised the log-odds of {"y" * 63}… by' in found


class TestRounded:
    @pytest.mark.parametrize(
        ("number", "digits", "text"),
        [
            (0.2146, 3, "0.215"),
            (35.24, 3, "35.2"),
            (12_345.0, 3, "12300"),
            (0.000_123_4, 3, "0.000123"),
            (9.999, 3, "10"),
            (1e-9, 3, "1e-09"),
            (2.5e20, 3, "2.5e+20"),
            (0.0, 3, "0"),
            (-2134.5, 6, "-2134.5"),
        ],
    )
    def test_has_an_exponent_only_where_zeros_would_be_many(
        self, number: float, digits: int, text: str
    ) -> None:
        assert rounded(number, digits=digits) == text
