import json
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_service.features.encoder import Encoder, Needs, RowEncoder
from ml_service.features.input_contract import contract_of
from ml_service.features.options import Options, options_of
from ml_service.features.problems import InvalidPreprocessing, NoFeatures
from ml_service.tables.table import Table, table_of
from platform_kit.contract.inputs import RowChecker
from platform_kit.contract.problem import IssueCode
from platform_kit.contract.schema import ColumnType
from tests.ml_service.factories import people_table

TREES = Needs(knows_missing=True, wants_scaling=False)
LINEAR = Needs(knows_missing=False, wants_scaling=True)


def table(**columns: tuple[ColumnType, list[Any]]) -> Table:
    arrays = [
        np.array(cells, dtype=object)
        if kind is ColumnType.STRING
        else np.array([math.nan if cell is None else float(cell) for cell in cells])
        for kind, cells in columns.values()
    ]
    return table_of(list(columns), [kind for kind, _ in columns.values()], arrays)


def encoded_as_served(encoder: Encoder, learnt_from: Table, rows: Table) -> np.ndarray[Any, Any]:
    """Each row by the road of a request: JSON text, the contract's checker, the encoder of manifest.json."""
    contract = contract_of(learnt_from, whole=rows, encoder=encoder)
    checker = RowChecker(contract)
    stored = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    values = []
    for position in range(rows.row_count):
        body = json.loads(json.dumps(rows.json_row(position)))
        checked = checker.check({name: body[name] for name in contract.names}, pointer=[])
        assert checked.errors == []
        values.append(checked.values)
    serving = RowEncoder(stored)
    one_by_one = [serving.encode_rows([row]) for row in values]
    together = serving.encode_rows(values)
    assert np.concatenate(one_by_one).tobytes() == together.tobytes()
    return together


class TestColumns:
    def test_trees_get_numbers_as_they_are_and_nan_for_missing(self) -> None:
        rows = table(a=(ColumnType.INTEGER, [3, None, 5]), b=(ColumnType.BOOLEAN, [True, False, None]))

        matrix = Encoder.fit(rows, needs=TREES, options=Options()).matrix(rows)

        np.testing.assert_array_equal(matrix, [[3, 1], [math.nan, 0], [5, math.nan]])
        assert matrix.flags["C_CONTIGUOUS"]
        assert matrix.dtype == np.float64

    def test_others_get_the_median_and_then_standard_scores(self) -> None:
        rows = table(a=(ColumnType.DECIMAL, [1.0, None, 3.0, 8.0]))

        matrix = Encoder.fit(rows, needs=LINEAR, options=Options()).matrix(rows)

        filled = np.array([1.0, 3.0, 3.0, 8.0])
        np.testing.assert_allclose(matrix[:, 0], (filled - 3.75) / filled.std())

    def test_a_constant_column_scales_to_zero(self) -> None:
        rows = table(a=(ColumnType.DECIMAL, [0.1] * 7))

        matrix = Encoder.fit(rows, needs=LINEAR, options=Options()).matrix(rows)

        np.testing.assert_allclose(matrix, 0.0, atol=1e-12)

    def test_text_becomes_one_column_each_most_frequent_first(self) -> None:
        rows = table(c=(ColumnType.STRING, ["x", "y", "y", "z", None, "w"]))

        encoder = Encoder.fit(rows, needs=TREES, options=Options(max_categories=2))

        assert encoder.features == ["c=y", "c=w", "c (other)", "c (missing)"]
        np.testing.assert_array_equal(
            encoder.matrix(rows),
            [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]],
        )

    def test_text_never_seen_is_other_only_if_training_had_others(self) -> None:
        seen = table(c=(ColumnType.STRING, ["x", "y"]))
        unseen = table(c=(ColumnType.STRING, ["q", None]))

        encoder = Encoder.fit(seen, needs=TREES, options=Options())

        assert encoder.features == ["c=x", "c=y"]
        np.testing.assert_array_equal(encoder.matrix(unseen), [[0, 0], [0, 0]])

    def test_times_become_seconds_hour_weekday_and_month(self) -> None:
        moments = ["1969-12-31T23:59:59Z", "2024-02-29T07:30:00Z", "2026-12-01T00:00:00Z"]
        stamps = pd.to_datetime(pd.Series(moments))
        rows = table(t=(ColumnType.DATETIME, [stamp.timestamp() for stamp in stamps]))

        matrix = Encoder.fit(rows, needs=TREES, options=Options()).matrix(rows)

        expected = [[s.timestamp(), s.hour, s.weekday(), s.month] for s in stamps]
        np.testing.assert_array_equal(matrix, expected)

    def test_numbers_too_far_away_stay_finite(self) -> None:
        rows = table(a=(ColumnType.DECIMAL, [0.0, 1.0]))
        far = table(a=(ColumnType.DECIMAL, [1.7e308, -1.7e308]))

        for needs in (TREES, LINEAR):
            matrix = Encoder.fit(rows, needs=needs, options=Options()).matrix(far)
            assert np.isfinite(matrix.astype(np.float32)).all()

    def test_columns_are_found_by_name(self) -> None:
        rows = table(a=(ColumnType.INTEGER, [1]), b=(ColumnType.INTEGER, [2]))
        turned = table(b=(ColumnType.INTEGER, [2]), a=(ColumnType.INTEGER, [1]))

        encoder = Encoder.fit(rows, needs=TREES, options=Options())

        np.testing.assert_array_equal(encoder.matrix(turned), encoder.matrix(rows))


MONTHS = st.integers(-200_000_000_000, 200_000_000_000)


@given(MONTHS)
def test_the_calendar_is_the_one_of_numpy(seconds: int) -> None:
    rows = table(t=(ColumnType.DATETIME, [seconds]))
    matrix = Encoder.fit(rows, needs=TREES, options=Options()).matrix(rows)
    moment = np.datetime64(seconds, "s")
    month = int(str(moment.astype("datetime64[M]")).rsplit("-", 1)[1])
    hour = int((moment - moment.astype("datetime64[D]")).astype(int)) // 3600
    assert matrix[0].tolist()[1:2] + matrix[0].tolist()[3:] == [hour, month]


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
WORDS = (
    st.none()
    | st.sampled_from(["", "a", "A", "ä", "b c", "long" * 20])
    | st.text(string.printable, max_size=3)
)
TIMES = st.none() | st.integers(-(10**10), 10**10).map(lambda number: number / 4)
ROWS = st.lists(
    st.tuples(NUMBERS, st.none() | st.integers(-(2**53) + 1, 2**53 - 1), WORDS, TIMES), min_size=1
)


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    booleans=st.lists(st.none() | st.booleans(), min_size=1),
    cut=st.integers(1, 20),
    knows_missing=st.booleans(),
    scales=st.booleans(),
    limit=st.integers(1, 4),
)
def test_training_and_serving_agree_to_the_bit(
    rows: list[tuple[Any, ...]],
    booleans: list[bool | None],
    cut: int,
    *,
    knows_missing: bool,
    scales: bool,
    limit: int,
) -> None:
    numbers, integers, words, times = (list(column) for column in zip(*rows, strict=True))
    whole = table(
        n=(ColumnType.DECIMAL, numbers),
        i=(ColumnType.INTEGER, integers),
        w=(ColumnType.STRING, words),
        t=(ColumnType.DATETIME, times),
        b=(ColumnType.BOOLEAN, [booleans[place % len(booleans)] for place in range(len(rows))]),
    )
    train = whole.rows(np.arange(min(cut, len(rows))))
    needs = Needs(knows_missing=knows_missing, wants_scaling=scales)
    encoder = Encoder.fit(train, needs=needs, options=Options(max_categories=limit))

    matrix = encoder.matrix(whole)

    assert encoded_as_served(encoder, train, whole).tobytes() == matrix.tobytes()
    assert matrix.shape == (len(rows), len(encoder.features))
    assert not np.isinf(matrix).any()
    assert knows_missing or np.isfinite(matrix).all()


def preprocessed_by_pandas(train: pd.DataFrame, rows: pd.DataFrame, *, is_linear: bool) -> pd.DataFrame:
    """The documented preprocessing, written a second time and in another way."""
    columns: dict[str, pd.Series[Any]] = {}

    def add(name: str, learnt: "pd.Series[Any]", cells: "pd.Series[Any]", *, scales: bool = True) -> None:
        if is_linear:
            learnt, cells = learnt.fillna(learnt.median()), cells.fillna(learnt.median())
            if scales:
                cells = (cells - learnt.mean()) / learnt.std(ddof=0)
        columns[name] = cells

    for name in ("age", "income"):
        add(name, train[name].astype(float), rows[name].astype(float))
    dummies = pd.get_dummies(rows["city"], dtype=float)
    for city in train["city"].value_counts().index:
        columns[f"city={city}"] = dummies.get(city, pd.Series(0.0, rows.index))
    columns["city (missing)"] = rows["city"].isna().astype(float)
    truth = {"true": 1.0, "false": 0.0}
    add("member", train["member"].map(truth), rows["member"].map(truth), scales=False)
    learnt, asked = pd.to_datetime(train["since"]), pd.to_datetime(rows["since"])
    epoch = pd.Timestamp(0, tz="UTC")
    add("since", (learnt - epoch).dt.total_seconds(), (asked - epoch).dt.total_seconds())
    for part, attribute in (("hour", "hour"), ("weekday", "day_of_week"), ("month", "month")):
        before, now = (getattr(each.dt, attribute).astype(float) for each in (learnt, asked))
        add(f"since ({part})", before, now)
    return pd.DataFrame(columns)


@pytest.mark.parametrize("needs", [TREES, LINEAR])
def test_an_independent_preprocessing_gives_the_same_matrix(tmp_path: Path, needs: Needs) -> None:
    whole = people_table(tmp_path).without(["bought", "level", "spent"])
    source = pd.read_csv(next(tmp_path.glob("*.csv")), dtype={"member": str})
    train_places, test_places = np.arange(0, 200), np.arange(200, 300)
    encoder = Encoder.fit(whole.rows(train_places), needs=needs, options=Options())

    matrix = encoder.matrix(whole.rows(test_places))

    expected = preprocessed_by_pandas(
        source.iloc[train_places], source.iloc[test_places], is_linear=needs is LINEAR
    )
    assert encoder.features == list(expected.columns)
    np.testing.assert_allclose(matrix, expected.to_numpy(), rtol=1e-12, atol=1e-12)


class TestOptions:
    def test_exclude_scale_and_max_categories_are_obeyed(self, tmp_path: Path) -> None:
        rows = people_table(tmp_path).without(["bought", "level", "spent"])
        asked = {"exclude": ["since", "member"], "scale": False, "max_categories": 1}

        encoder = Encoder.fit(rows, needs=LINEAR, options=options_of(asked, names=rows.names))

        assert encoder.features == ["age", "income", "city=Bonn", "city (other)", "city (missing)"]
        np.testing.assert_array_equal(encoder.matrix(rows)[:, 0], rows.values("age"))

    def test_everything_wrong_is_named_at_once(self) -> None:
        asked = {"exclude": ["a", "q"], "scale": "yes", "max_categories": 0, "impute": "mean"}

        with pytest.raises(InvalidPreprocessing) as caught:
            options_of(asked, names=["a", "b"])

        assert {(each.pointer, each.code) for each in caught.value.problem.errors or []} == {
            ("/preprocessing/impute", IssueCode.UNKNOWN_FIELD),
            ("/preprocessing/exclude/1", IssueCode.UNKNOWN_VALUE),
            ("/preprocessing/scale", IssueCode.WRONG_TYPE),
            ("/preprocessing/max_categories", IssueCode.OUT_OF_RANGE),
        }

    @pytest.mark.parametrize("asked", [{"exclude": "a"}, {"max_categories": True}, {"max_categories": 2.5}])
    def test_wrong_types_are_refused(self, asked: dict[str, Any]) -> None:
        with pytest.raises(InvalidPreprocessing):
            options_of(asked, names=["a"])

    def test_a_table_without_features_is_refused(self) -> None:
        rows = table(a=(ColumnType.INTEGER, [1]))

        with pytest.raises(NoFeatures):
            Encoder.fit(rows, needs=TREES, options=Options(exclude=("a",)))
