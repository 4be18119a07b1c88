"""A model's own document: what it says of rows is what is taken, and what it says of answers is what comes."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from ml_service.artifacts.model_files import write
from ml_service.serving.answers import single_answer
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import load
from ml_service.serving.model_openapi import model_openapi
from ml_service.serving.predicting import Said
from ml_service.serving.request_body import Options
from ml_service.training.manifest import manifest_of
from ml_service.training.trainer import train
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Manifest, Task
from platform_kit.contract.serving_options import ServingOptions
from tests.ml_service.factories import TARGETS, ignore, people_table, spec

Json: TypeAlias = dict[str, Any]
Deployed: TypeAlias = Callable[..., Found]
URL = "http://ml.example/ml"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """A model of the people's `bought`, or of what they `spent`, under the options of a deployment."""

    @cache
    def trained(target: str) -> tuple[Manifest, Path]:
        task = Task.REGRESSION if target == "spent" else Task.CLASSIFICATION
        folder = tmp_path_factory.mktemp(target)
        others = [each for each in TARGETS if each != target]
        asked = spec("lightgbm", task=task, target=target, preprocessing={"exclude": others})
        model = train(people_table(folder), asked, ignore, threads=1)
        return manifest_of(model, asked, files=write(model.estimator, Framework.LIGHTGBM, folder)), folder

    def found(target: str = "bought", **config: Any) -> Found:
        manifest, folder = trained(target)
        version = load(manifest, manifest.digest(), folder)
        return Found(
            model_id="11111111-2222-3333-4444-555555555555",
            name="people",
            endpoint="people",
            framework="lightgbm",
            model_type=manifest.task,
            number=3,
            version=version,
            servable=version.under(ServingOptions.model_validate(config), "asked for"),
        )

    return found


def document_of(found: Found) -> Json:
    return model_openapi(found, public_url=URL)


def field(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"]["Row"]["properties"][name]
    return found


def answer_schema(document: Json) -> Json:
    """Of one prediction, by itself."""
    return {"$ref": "#/components/schemas/Prediction", "components": document["components"]}


def answer_of(found: Found, *, options: Options) -> Json:
    """To the first row of the document, as it is sent."""
    row = document_of(found)["components"]["schemas"]["Row"]["examples"][0]
    values = found.servable.check(row, pointer=()).values
    predictor = found.version.predictor
    (scored,) = predictor.score(predictor.encode([values]))
    explanation = None
    if options.explain:
        (explanation,) = found.version.explainer.explain([values], predictor.encode([values]))
    raw = single_answer(found, Said(scored, from_cache=False), options, began=0.0, explanation=explanation)
    body: Json = json.loads(raw)
    return body


class TestDocument:
    @pytest.mark.parametrize(
        ("target", "config"),
        [
            ("bought", {}),
            ("bought", {"labels": {"yes": 1, "no": 0}, "abstain_below": 0.9, "output_name": "buys"}),
            ("spent", {"decimals": 2, "output_name": "euro", "on_unknown_field": "warn"}),
        ],
    )
    def test_is_valid_openapi(self, deployed: Deployed, target: str, config: Json) -> None:
        document = document_of(deployed(target, **config))

        validate(document)
        OAS31Validator.check_schema(document["components"]["schemas"]["Row"])
        assert set(document["paths"]) == {"/predict/people", "/predict/people/batch"}

    def test_says_what_the_deployment_asks_for(self, deployed: Deployed) -> None:
        plain, changed = (document_of(deployed(**config))["info"] for config in ({}, {"threshold": 0.3}))

        assert changed["description"] == plain["description"] + (
            ' Its deployment\'s options: `{"threshold":0.3}`.'
        )

    def test_needs_a_credential_where_the_model_does(self, deployed: Deployed) -> None:
        assert {} not in document_of(deployed())["security"]

    @pytest.mark.parametrize("body", ["input_data", "inputs"])
    def test_has_bodies_that_are_taken(self, deployed: Deployed, body: str) -> None:
        found = deployed()
        document = document_of(found)
        path = "/predict/people" + ("/batch" if body == "inputs" else "")
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": document["components"]}

        assert content["examples"]
        for example in content["examples"].values():
            OAS31Validator(schema).validate(example["value"])
            rows = example["value"][body] if body == "inputs" else [example["value"][body]]
            assert [found.servable.check(row, pointer=()).errors for row in rows] == [[]] * len(rows)
        assert set(content["schema"]["properties"]) == {
            body,
            "return_probabilities",
            "use_cache",
            "explain",
        }

    def test_shows_an_error_of_this_very_model(self, deployed: Deployed) -> None:
        responses = document_of(deployed())["paths"]["/predict/people"]["post"]["responses"]
        example = responses["422"]["content"]["application/problem+json"]["example"]

        said = {each["code"]: each for each in example["errors"]}
        assert set(said) == {"wrong_type", "missing_field", "unknown_field"}
        assert said["wrong_type"]["pointer"] == "/input_data/age"
        assert said["unknown_field"]["hint"] == "did you mean `since`?"

    def test_describes_every_refusal_with_an_example(self, deployed: Deployed) -> None:
        responses = document_of(deployed())["paths"]["/predict/people/batch"]["post"]["responses"]

        refusals = {int(status) for status in responses} - {200}
        assert refusals == {400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503}
        for status in refusals:
            content = responses[str(status)]["content"]["application/problem+json"]
            assert content["example"]["status"] == status


class TestFields:
    def test_have_types_ranges_and_values_of_the_dataset(self, deployed: Deployed) -> None:
        document = document_of(deployed())

        age, city, since = (field(document, name) for name in ("age", "city", "since"))
        assert (age["type"], age["x-training-minimum"], "minimum" in age) == ("integer", 18, False)
        assert age["description"].startswith("Training saw 18 to 89; what is outside is answered with a war")
        assert (city["type"], set(city["x-known-values"])) == (
            ["string", "null"],
            {"Bonn", "Köln", "Ulm", "Jena"},
        )
        assert (since["format"], since["x-training-minimum"][:4]) == ("date-time", "2015")
        assert field(document, "member")["type"] == ["boolean", "null"]
        assert document["components"]["schemas"]["Row"]["required"] == [
            *("age", "income", "city", "member", "since")
        ]

    def test_follow_the_policies_of_the_deployment(self, deployed: Deployed) -> None:
        policies = {
            "age": {"on_out_of_range": "reject", "on_missing": "impute"},
            "city": {"on_unknown_category": "reject"},
            "income": {"on_out_of_range": "impute"},
        }
        found = deployed(fields=policies, on_unknown_field="warn")
        document = document_of(found)
        row = document["components"]["schemas"]["Row"]

        age, city = field(document, "age"), field(document, "city")
        assert (age["minimum"], age["type"]) == (18, ["integer", "null"])
        assert "what is outside is refused" in age["description"]
        assert f"counts as {found.servable.contract.fields[0].typical}, with a warning" in age["description"]
        assert city["enum"] == [*city["x-known-values"], None]
        assert "counts as" in field(document, "income")["description"]
        assert (row["additionalProperties"], "age" in row["required"]) == (True, False)

    def test_show_no_row_that_the_deployment_refuses(self, deployed: Deployed) -> None:
        strict = {name: {"on_out_of_range": "reject"} for name in ("age", "income", "since")}
        found = deployed(fields=strict)

        rows = document_of(found)["components"]["schemas"]["Row"]["examples"]

        assert rows
        assert [each for row in rows for each in found.servable.check(row, pointer=()).errors] == []


class TestAnswers:
    @pytest.mark.parametrize(
        ("config", "answers"),
        [
            ({}, ["no", "yes"]),
            ({"labels": {"yes": 1, "no": 0}}, [0, 1]),
            ({"labels": {"yes": "no"}}, ["no"]),
            ({"abstain_below": 0.9}, ["no", "yes", None]),
            ({"abstain_below": 0.9, "abstain_answer": "ask a person"}, ["no", "yes", "ask a person"]),
        ],
    )
    def test_are_the_labels_of_the_deployment(
        self, deployed: Deployed, config: Json, answers: list[Any]
    ) -> None:
        schemas = document_of(deployed(**config))["components"]["schemas"]

        assert schemas["Prediction"]["properties"]["prediction"] == {"enum": answers}
        assert schemas["BatchItem"]["properties"]["prediction"] == {"enum": answers}

    @pytest.mark.parametrize("options", [Options(), Options(return_probabilities=True, explain=True)])
    @pytest.mark.parametrize(
        ("target", "config"),
        [
            ("bought", {}),
            ("bought", {"labels": {"yes": 1, "no": 0}, "abstain_below": 1.0, "output_name": "buys"}),
            ("spent", {"output_name": "euro"}),
        ],
    )
    def test_keep_to_what_the_document_says(
        self, deployed: Deployed, target: str, config: Json, options: Options
    ) -> None:
        found = deployed(target, **config)

        answer = answer_of(found, options=options)

        OAS31Validator(answer_schema(document_of(found))).validate(answer)
        assert ("outputs" in answer) is ("output_name" in config)

    def test_are_numbers_where_numbers_are_predicted(self, deployed: Deployed) -> None:
        properties = document_of(deployed("spent"))["components"]["schemas"]["Prediction"]["properties"]

        assert properties["prediction"] == {"type": "number"}
        assert properties["probabilities"] == {"type": "null"}
        assert "outputs" not in properties
