import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ml_service.profiling.profile import profile
from ml_service.tables.reading import read
from ml_service.tables.table import table_of
from platform_kit.contract.jobs import ProfileResult
from platform_kit.contract.schema import MAX_CATEGORIES, CategoryCount, ColumnType, FileType
from tests.ml_service.factories import people, people_table


class TestProfile:
    def test_numbers_agree_with_pandas(self, tmp_path: Path) -> None:
        result = profile(people_table(tmp_path))

        source = people()["income"].astype(float)
        found = result.statistics.columns["income"]
        assert (found.count, found.missing, found.distinct) == (
            source.count(),
            source.isna().sum(),
            source.nunique(),
        )
        assert (found.minimum, found.maximum) == (source.min(), source.max())
        np.testing.assert_allclose(
            [found.mean or 0, found.standard_deviation or 0], [source.mean(), source.std()]
        )
        np.testing.assert_allclose(found.quantiles or [], source.quantile(np.arange(21) / 20))
        assert found.categories is None

    def test_categories_come_most_frequent_first(self, tmp_path: Path) -> None:
        result = profile(people_table(tmp_path))

        counts = people()["city"].value_counts()
        found = result.statistics.columns["city"]
        assert [(each.value, each.count) for each in found.categories or []] == list(counts.items())
        assert found.categories_complete is True
        assert (found.minimum, found.mean) == (None, None)

    def test_booleans_are_categories_and_times_have_bounds(self, tmp_path: Path) -> None:
        result = profile(people_table(tmp_path))

        member = result.statistics.columns["member"].categories or []
        assert {each.value for each in member} == {True, False}
        assert all(isinstance(each.value, bool) for each in member)
        since = result.statistics.columns["since"]
        assert since.minimum == people()["since"].min()
        assert since.maximum == people()["since"].max()

    def test_the_preview_holds_the_first_rows_as_json_values(self, tmp_path: Path) -> None:
        result = profile(people_table(tmp_path))

        assert len(result.preview) == 20
        first = people().iloc[0]
        assert result.preview[0] == {
            "age": int(first["age"]),
            "income": float(first["income"]),
            "city": first["city"],
            "member": first["member"] == "true",
            "since": first["since"],
            "bought": first["bought"],
            "level": int(first["level"]),
            "spent": float(first["spent"]),
        }
        assert result.preview[1]["income"] is None

    def test_survives_its_own_json(self, tmp_path: Path) -> None:
        result = profile(people_table(tmp_path))

        assert ProfileResult.model_validate(json.loads(result.model_dump_json())) == result

    def test_many_categories_are_cut_and_say_so(self) -> None:
        words = np.array([f"w{number:05}" for number in range(MAX_CATEGORIES + 5)] + ["w00003"], dtype=object)

        found = profile(table_of(["w"], [ColumnType.STRING], [words])).statistics.columns["w"]

        assert len(found.categories or []) == MAX_CATEGORIES
        assert (found.categories or [])[0] == CategoryCount(value="w00003", count=2)
        assert (found.categories_complete, found.distinct) == (False, MAX_CATEGORIES + 5)

    def test_prose_is_cut_in_the_preview(self) -> None:
        texts = np.array(["x" * 5000, None], dtype=object)

        result = profile(table_of(["t"], [ColumnType.STRING], [texts]))

        assert len(result.preview[0]["t"]) == 257
        assert result.statistics.columns["t"].categories == []
        assert result.statistics.columns["t"].categories_complete is False

    def test_one_value_no_value_and_huge_values(self) -> None:
        table = table_of(
            ["one", "none", "huge"],
            [ColumnType.DECIMAL, ColumnType.STRING, ColumnType.DECIMAL],
            [np.array([5.0, np.nan]), np.array([None, None], dtype=object), np.array([1.7e308, -1.7e308])],
        )

        columns = profile(table).statistics.columns

        assert (columns["one"].mean, columns["one"].standard_deviation) == (5.0, None)
        assert (columns["none"].count, columns["none"].missing, columns["none"].distinct) == (0, 2, 0)
        json.loads(profile(table).model_dump_json())

    def test_thirty_thousand_rows_take_less_than_two_seconds(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        columns = {f"n{number}": random.normal(size=30_000) for number in range(10)}
        columns |= {f"c{number}": random.choice(["red", "green", "blue"], 30_000) for number in range(5)}
        path = tmp_path / "large.csv"
        pd.DataFrame(columns).to_csv(path, index=False)

        began = time.process_time()
        profile(read(path, FileType.CSV))

        assert time.process_time() - began < 2.0
