"""How a deployment answers: the `config` of a deploy. Both services read it; nothing in it changes the model itself."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from platform_kit.contract.artifact import Label, Task
from platform_kit.contract.inputs import InputContract, Policy
from platform_kit.contract.labels import label_key
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.contract.schema import ColumnType

MOST_DECIMALS = 12
LONGEST_NAME = 100
LONGEST_ANSWER = 1000
MOST_LABELS = 1000
MOST_FIELDS = 10_000
"""A deployment of a model that is still in training is kept before there is anything to compare it with."""


def _sendable(answer: Label) -> Label:
    if isinstance(answer, float) and not math.isfinite(answer):
        raise ValueError("a finite number")
    if isinstance(answer, str) and len(answer) > LONGEST_ANSWER:
        raise ValueError(f"at most {LONGEST_ANSWER} characters")
    return answer


Answer = Annotated[Label, AfterValidator(_sendable)]
Share = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number, not the text of one."""


class FieldPolicies(BaseModel):
    """What is done about a value of one field; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_missing: Policy | None = Field(default=None, description="also of null, where training had none")
    on_out_of_range: Policy | None = None
    on_unknown_category: Policy | None = None


class ServingOptions(BaseModel):
    """Every option may be left out; all left out, the answers are the model's own."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"threshold": 0.3, "abstain_below": 0.6, "fields": {"income": {"on_missing": "impute"}}},
                {"decimals": 2, "output_name": "price_eur"},
            ]
        },
    )

    threshold: Share | None = Field(
        default=None, gt=0, lt=1, description="two classes: answer `positive_class` from this probability on"
    )
    positive_class: Answer | None = Field(default=None, description="which class; left out: the second")
    labels: dict[str, Answer] = Field(
        default_factory=dict,
        max_length=MOST_LABELS,
        description="what is answered for a class, instead of its own name",
    )
    abstain_below: Share | None = Field(
        default=None, gt=0, le=1, description="classification: below this confidence nothing is predicted"
    )
    abstain_answer: Answer | None = Field(
        default=None, description="what `prediction` is then; left out: null"
    )
    decimals: StrictInt | None = Field(
        default=None, ge=0, le=MOST_DECIMALS, description="of a predicted number, or of probabilities"
    )
    output_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="`outputs` has the prediction under this name too",
    )
    fields: dict[str, FieldPolicies] = Field(
        default_factory=dict, max_length=MOST_FIELDS, description="policies, by field"
    )
    on_unknown_field: Literal[Policy.REJECT, Policy.WARN] = Field(
        default=Policy.REJECT, description="`warn`: leave out what the model does not know, and say so"
    )
    pinned: StrictBool = Field(default=False, description="never leaves memory to make room for other models")

    def applied_to(self, contract: InputContract) -> InputContract:
        """The contract that requests are held to."""
        fields = [
            each.model_copy(update=self.fields[each.name].model_dump(exclude_none=True))
            if each.name in self.fields
            else each
            for each in contract.fields
        ]
        return contract.model_copy(update={"fields": fields, "on_unknown_field": self.on_unknown_field})

    def issues(self, *, contract: InputContract, task: Task, classes: Sequence[Label] | None) -> list[Issue]:
        """What of it makes no sense for a model with this contract and these classes."""
        issues = list(self._field_issues(contract))
        if task is Task.REGRESSION:
            return [*issues, *self._issues_without_classes()]
        keys = [label_key(each) for each in classes or []]
        return [*issues, *self._useless(), *self._class_issues(keys)]

    def _field_issues(self, contract: InputContract) -> Iterator[Issue]:
        types = {each.name: each.type for each in contract.fields}
        for name, policies in self.fields.items():
            if name not in types:
                expected = f"one of: {', '.join(contract.names)}"
                yield _issue(("fields", name), name, IssueCode.UNKNOWN_FIELD, expected)
                continue
            for policy, sense in _MAKES_SENSE_FOR.items():
                chosen = getattr(policies, policy)
                if chosen is not None and types[name] not in sense:
                    expected = f"left out: `{name}` is {types[name]}, where it has no effect"
                    yield _issue(("fields", name, policy), chosen, IssueCode.UNKNOWN_VALUE, expected)

    def _issues_without_classes(self) -> Iterator[Issue]:
        for option in _OF_CLASSES:
            if getattr(self, option) not in (None, {}):
                yield _not_for(option, getattr(self, option), "a model that tells classes apart")

    def _useless(self) -> Iterator[Issue]:
        for option, needed in _NEEDS.items():
            if getattr(self, option) is not None and getattr(self, needed) is None:
                expected = f"a number: `{option}` has no effect without it"
                yield _issue((needed,), None, IssueCode.MISSING_FIELD, expected)

    def _class_issues(self, keys: Sequence[str]) -> Iterator[Issue]:
        if self.threshold is not None and len(keys) != 2:
            yield _not_for("threshold", self.threshold, f"a model with two classes; this one has {len(keys)}")
        if self.positive_class is not None and label_key(self.positive_class) not in keys:
            yield _issue(("positive_class",), self.positive_class, IssueCode.UNKNOWN_VALUE, _one_of(keys))
        for label in self.labels:
            if label not in keys:
                yield _issue(("labels", label), label, IssueCode.UNKNOWN_VALUE, _one_of(keys))


_OF_CLASSES = ("threshold", "positive_class", "labels", "abstain_below", "abstain_answer")
_NEEDS = {"positive_class": "threshold", "abstain_answer": "abstain_below"}
_MAKES_SENSE_FOR = {
    "on_out_of_range": (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATETIME),
    "on_unknown_category": (ColumnType.STRING,),
}


def _one_of(keys: Sequence[str]) -> str:
    return f"one of: {', '.join(keys)}"


def _not_for(option: str, got: object, expected: str) -> Issue:
    return _issue((option,), got, IssueCode.UNKNOWN_VALUE, f"only for {expected}")


def _issue(where: tuple[str, ...], got: object, code: IssueCode, expected: str) -> Issue:
    """field: what is to be mended there, so for a policy the input field that it is about."""
    field = where[1] if where[0] == "fields" else where[0]
    pointer = pointer_to("config", *where)
    return Issue(
        pointer=pointer, field=field, code=code, got=None if got is None else shown(got), expected=expected
    )
