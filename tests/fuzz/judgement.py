"""What an answer is judged by: every check of the fuzzer, but where it cannot know better. Each exception says why."""

from collections.abc import Callable, Mapping
from typing import Any

Operation = dict[str, Any]
Json = dict[str, Any]

NOT_CALLED = {
    "auth_logout": "ends the session of the run",
    "auth_end_sessions": "ends the session of the run",
    "auth_deactivate": "closes the account of the run",
}
"""By operation id. What is left of the account's own routes asks for a password that no fuzzer guesses."""

NEVER_DONE = {
    **NOT_CALLED,
    "auth_token": "asks for a password",
    "auth_change_password": "asks for the current password",
    "auth_refresh": "asks for a refresh token",
    "auth_reset_password": "asks for a token that an administrator hands out",
    "deployments_roll_back": "asks for a version that was served before",
}
"""By operation id: what is only ever refused here."""

ENDS_SOMETHING = {
    **dict.fromkeys(("api_keys_revoke", "auth_end_session", "users_revoke_invitation"), 0),
    **dict.fromkeys(("datasets_delete", "models_delete", "deployments_retire"), 0),
    "jobs_prioritize": -3,
    "jobs_cancel": -2,
    "jobs_retry": -1,
    **dict.fromkeys(("users_change", "users_offer_reset"), 0),
    **dict.fromkeys(("projects_change", "projects_set_quotas", "projects_change_member"), 0),
    "projects_remove_member": 1,
    "projects_leave": 1,
    "projects_transfer": 2,
    "projects_delete": -1,
}
"""By operation id: which of the spare things it is given, so that the run keeps what it goes on to read."""

WELL_FORMED_AND_REFUSED = (200, 201, 202, 204, 401, 403, 404, 409, 412)
"""To what the document allows; 412: a made-up `If-Match` names no state that there is."""

REFUSED_FOR_ITS_MEANING = {
    "api_keys_create": "a time to come; an endpoint with the scope predict alone",
    "auth_change_password": "a password that is guessable, or not the current one",
    "auth_register": "a name in letters; a password that is guessable",
    "auth_reset_password": "a password that is guessable",
    "auth_change_me": "an e-mail address as the platform reads it",
    "auth_token": "the grant type of a form, which may be left out and not be anything else",
    "deployments_deploy": "a version that there is, and options that make sense for it",
    "jobs_prioritize": "a number without a decimal point, which a schema does not tell from others",
    "models_train": "a target, algorithm and parameters that the dataset and the catalogue have",
    "predictions_create": "the features of the model",
    "predictions_predict": "the features of the model",
    "predictions_predict_batch": "the features of the model",
    "predictions_predict_version": "the features of the model",
    "predictions_predict_version_batch": "the features of the model",
    "projects_change": "a config whose parameters the catalogue has",
    "projects_set_quotas": "numbers without a decimal point, which a schema does not tell from others",
    "projects_transfer": "one of a user name, an e-mail address and an id",
    "users_invite": "a time to come; an e-mail address as the platform reads it",
}
"""By operation id: what a body must be beside its schema, so that a valid one may be answered 400, 415 or 422."""

TAKES_MORE = {
    "datasets_create": "a field of a form that is sent empty, as browsers do, counts as left out",
}
"""By operation id: what is taken though the schema has another word for it."""

OPEN_TO_ALL = {
    "models_list_models": "answers everybody with what they may see",
    "models_stats": "answers everybody with what they may see",
}
"""By operation id: where a credential is read but not asked for."""


def _takes(kind: str, *names: str) -> Callable[[Operation], bool]:
    def takes(operation: Operation) -> bool:
        return any(each["in"] == kind and each["name"] in names for each in operation.get("parameters", []))

    return takes


def _takes_a_file(operation: Operation) -> bool:
    return "multipart/form-data" in operation.get("requestBody", {}).get("content", {})


REFUSED_FOR_ITS_KIND: dict[str, Callable[[Operation], bool]] = {
    "a cursor is the platform's own, and each list has its own fields to sort by": _takes("query", "cursor"),
    "a key that came with another body before": _takes("header", "Idempotency-Key"),
    "a file that is a table": _takes_a_file,
}


def operations_of(document: Json) -> list[tuple[str, str, Operation]]:
    """Method, path and description of each."""
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "operationId" in operation
    ]


def rules(document: Json) -> list[Json]:
    """The exceptions, as the fuzzer's configuration has them."""
    found = []
    for _, _, operation in operations_of(document):
        name, off = operation["operationId"], []
        if name in REFUSED_FOR_ITS_MEANING or any(each(operation) for each in REFUSED_FOR_ITS_KIND.values()):
            off.append("positive_data_acceptance")
        if name in OPEN_TO_ALL:
            off.append("ignored_auth")
        if name in TAKES_MORE:
            off.append("negative_data_rejection")
        if off:
            found.append({"include-operation-id": name, "checks": {each: {"enabled": False} for each in off}})
    called_off = {"include-operation-id": list(NOT_CALLED), "enabled": False}
    return [called_off, *found]


def spares(spare: Mapping[str, list[Any]]) -> list[Json]:
    """Where a parameter in the path is always something spare."""
    return [
        {
            "include-operation-id": name,
            "parameters": {f"path.{each}": values[which % len(values)] for each, values in spare.items()},
        }
        for name, which in ENDS_SOMETHING.items()
    ]
