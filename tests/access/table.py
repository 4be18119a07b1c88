"""What each route of both services needs, written by hand. A route that is not here fails the matrix.

A new route needs a line: the route, what it needs, and what kind of thing its path, query or body names.
In templates `{thing}` is that thing, `{new}` a name not used before, `{dataset}`, `{model}`, ... the team's own.
"""

from tests.access.asks import ROW, Ask, api
from tests.access.needs import (
    ADMINISTER,
    ASK_WHOSE,
    AUDIT,
    DELETE_PROJECT,
    DEPLOY,
    EDIT,
    HISTORY_OF,
    IN_A_PROJECT,
    KEYS,
    LEAVE,
    NEW_PROJECT,
    OWN_HISTORY,
    PREDICT,
    QUOTA,
    READ,
    READ_FILTERED,
    SELF,
    SELF_READ,
    SHARE,
    SHARE_WITH,
)
from tests.access.oracle import OPEN
from tests.access.table_beside import INTERNALS, ML, OPEN_PAGES

_OF_PROJECTS = "WHERE project_id = ANY(:projects)"
_OF_MODELS = "JOIN models ON models.id = model_id WHERE models.project_id = ANY(:projects)"
_THROWAWAY = {"username": "throwaway", "password": "correct horse battery"}
_MODEL = {"name": "{new}", "model_type": "classification", "framework": "lightgbm"}
_PREDICT = {"input_data": ROW}

ACCOUNTS = (
    api(
        "POST /auth/register",
        OPEN,
        json={"email": "{new}@example.com", "username": "{new}", "password": "correct horse battery"},
    ),
    api("POST /auth/token", OPEN, form=_THROWAWAY),
    # Neither changes what anybody may do: a pair of tokens for the same session, a note that administrators see.
    api(
        "POST /auth/refresh",
        OPEN,
        "refresh_token",
        json={"refresh_token": "{thing}"},
        fresh=True,
        audited=False,
    ),
    api("POST /auth/password-reset-requests", OPEN, json={"login": "throwaway"}, audited=False),
    api(
        "POST /auth/password-reset",
        OPEN,
        "reset_token",
        json={"token": "{thing}", "new_password": "correct horse battery"},
        fresh=True,
    ),
    api("GET /auth/me", SELF_READ),
    api("PATCH /auth/me", SELF, json={"full_name": "{new}"}),
    api("GET /auth/sessions", SELF),
    api("DELETE /auth/sessions/{session_id}", SELF, "session", fresh=True),
    api("DELETE /auth/sessions", SELF, ends_account=True),
    api("POST /auth/logout", SELF, ends_account=True),
    api(
        "POST /auth/password",
        SELF,
        json={"current_password": "correct horse battery", "new_password": "another good battery"},
        ends_account=True,
    ),
    api(
        "POST /auth/deactivate",
        SELF,
        json={"password": "correct horse battery"},
        ends_account=True,
        answers=(409,),
    ),
    api("GET /users", ADMINISTER),
    api("GET /users/{user_id}", ADMINISTER, "user"),
    api("PATCH /users/{user_id}", ADMINISTER, "user", json={"full_name": "{new}"}),
    api("POST /users/{user_id}/password-reset", ADMINISTER, "user"),
    api("POST /invitations", ADMINISTER, json={}),
    api("GET /invitations", ADMINISTER),
    api("DELETE /invitations/{invitation_id}", ADMINISTER, "invitation", fresh=True),
    api("POST /api-keys", SELF, json={"name": "{new}", "scopes": ["read"]}),
    api(
        "POST /api-keys",
        IN_A_PROJECT,
        "project",
        json={"name": "{new}", "scopes": ["read"], "project_id": "{thing}"},
    ),
    api(
        "POST /api-keys",
        IN_A_PROJECT,
        "endpoint",
        json={"name": "{new}", "scopes": ["predict"], "endpoint": "{thing}"},
    ),
    api("GET /api-keys", SELF, rows="SELECT count(*) FROM api_keys WHERE user_id = :user"),
    api(
        "GET /api-keys",
        ASK_WHOSE,
        "account",
        params={"user_id": "{thing}"},
    ),
    api("GET /api-keys/{key_id}", KEYS, "api_key"),
    api("DELETE /api-keys/{key_id}", KEYS, "api_key", fresh=True),
    api("GET /audit", AUDIT),
    api("GET /housekeeping", ADMINISTER),
    # The second one is told that the first is under way.
    api("POST /housekeeping/{chore}", ADMINISTER, path={"chore": "stale_entries"}, answers=(409,)),
    api("GET /algorithms", OPEN),
)

PROJECTS = (
    api("POST /projects", NEW_PROJECT, json={"name": "{new}"}),
    api("GET /projects", READ, rows="SELECT count(*) FROM projects WHERE id = ANY(:projects)"),
    api("GET /projects/{project_id}", READ, "project"),
    api("PATCH /projects/{project_id}", EDIT, "project", json={"description": "{new}"}),
    # The team's project holds datasets: whoever may delete it is told so. An empty one is deleted in its room's tests.
    api("DELETE /projects/{project_id}", DELETE_PROJECT, "project", answers=(409,)),
    api("GET /projects/{project_id}/members", READ, "project"),
    api("GET /projects/{project_id}/members/{user_id}", READ, "project", path={"user_id": "{member}"}),
    api(
        "POST /projects/{project_id}/members",
        SHARE,
        "project",
        json={"user_id": "{throwaway}", "role": "viewer"},
        regroups=True,
    ),
    api(
        "POST /projects/{project_id}/members",
        SHARE_WITH,
        "stranger",
        inside="project",
        json={"user_id": "{thing}"},
        regroups=True,
    ),
    api(
        "PATCH /projects/{project_id}/members/{user_id}",
        SHARE,
        "project",
        path={"user_id": "{member}"},
        json={"role": "editor"},
        regroups=True,
    ),
    api(
        "DELETE /projects/{project_id}/members/{user_id}",
        SHARE,
        "project",
        path={"user_id": "{member}"},
        regroups=True,
    ),
    api("POST /projects/{project_id}/leave", LEAVE, "project", regroups=True, answers=(409,)),
    api(
        "POST /projects/{project_id}/transfer",
        SHARE,
        "project",
        json={"user_id": "{throwaway}"},
        regroups=True,
    ),
    api(
        "POST /projects/{project_id}/transfer",
        SHARE_WITH,
        "stranger",
        inside="project",
        json={"user_id": "{thing}"},
        regroups=True,
    ),
    api("GET /projects/{project_id}/activity", READ, "project", params={"limit": "200"}),
    api("GET /projects/{project_id}/usage", READ, "project"),
    api("PUT /projects/{project_id}/quotas", QUOTA, "project", json={"models": 100_000}),
)

DATASETS = (
    api("POST /datasets", EDIT, form={"name": "{new}"}, file=True),
    api("POST /datasets", EDIT, "project", form={"name": "{new}", "project_id": "{thing}"}, file=True),
    api("GET /datasets", READ, rows=f"SELECT count(*) FROM datasets {_OF_PROJECTS}"),
    api("GET /datasets", READ_FILTERED, "project", params={"project_id": "{thing}"}),
    api("GET /datasets/{dataset_id}", READ, "dataset"),
    api("PATCH /datasets/{dataset_id}", EDIT, "dataset", json={"description": "{new}"}),
    api("DELETE /datasets/{dataset_id}", EDIT, "dataset", fresh=True),
    api("POST /datasets/{dataset_id}/versions", EDIT, "dataset", file=True, fresh=True),
    api("GET /datasets/{dataset_id}/versions", READ, "dataset"),
    api("GET /datasets/{dataset_id}/versions/{version}", READ, "dataset"),
    api("GET /datasets/{dataset_id}/versions/{version}/profile", READ, "dataset"),
    api("GET /datasets/{dataset_id}/versions/{version}/preview", READ, "dataset"),
    api("GET /datasets/{dataset_id}/versions/{version}/download", READ, "dataset"),
    api("GET /datasets/{dataset_id}/profile", READ, "dataset"),
    api("GET /datasets/{dataset_id}/preview", READ, "dataset"),
    api("GET /datasets/{dataset_id}/download", READ, "dataset"),
)

MODELS = (
    api("POST /models", EDIT, json=_MODEL),
    api("POST /models", EDIT, "project", json={**_MODEL, "project_id": "{thing}"}),
    api("POST /models", EDIT, "dataset", json={**_MODEL, "dataset_id": "{thing}"}),
    api(
        "POST /models",
        EDIT,
        "dataset",
        inside="project",
        json={**_MODEL, "project_id": "{project}", "dataset_id": "{thing}"},
    ),
    api("GET /models", READ, rows=f"SELECT count(*) FROM models {_OF_PROJECTS}"),
    api("GET /models", READ_FILTERED, "project", params={"project_id": "{thing}"}),
    api("GET /models/{model_id}", READ, "model"),
    api("PATCH /models/{model_id}", EDIT, "model", json={"description": "{new}"}),
    api("DELETE /models/{model_id}", EDIT, "model", fresh=True),
    api("GET /models/{model_id}/versions", READ, "model"),
    api("GET /models/{model_id}/versions/{version}", READ, "model"),
    api("POST /models/{model_id}/train", EDIT, "idle_model", json={"dataset_id": "{dataset}"}, fresh=True),
    api(
        "POST /models/{model_id}/train",
        EDIT,
        "dataset",
        inside="idle_model",
        json={"dataset_id": "{thing}"},
    ),
    api("GET /jobs", READ, rows=f"SELECT count(*) FROM jobs {_OF_PROJECTS}"),
    api("GET /jobs", READ_FILTERED, "project", params={"project_id": "{thing}"}),
    api("GET /jobs/{job_id}", READ, "job"),
    api("GET /jobs", READ_FILTERED, "model", params={"model_id": "{thing}"}),
    api("GET /jobs", READ_FILTERED, "dataset", params={"dataset_id": "{thing}"}),
    api("GET /jobs/{job_id}/events", READ, "job"),
    api("GET /jobs/{job_id}/logs", READ, "job"),
    api("GET /jobs/{job_id}/attempts", READ, "job"),
    api("PATCH /jobs/{job_id}", EDIT, "job", json={"priority": 3}, fresh=True),
    api("POST /jobs/{job_id}/cancel", EDIT, "job", fresh=True),
    api("POST /jobs/{job_id}/retry", EDIT, "ended_job", fresh=True),
)

SERVING = (
    api("POST /models/{model_id}/deploy", DEPLOY, "trained_model", json={"version": 1}, fresh=True),
    api("GET /deployments", READ, rows=f"SELECT count(*) FROM deployments {_OF_MODELS}"),
    api("GET /deployments", READ_FILTERED, "model", params={"model_id": "{thing}"}),
    api("GET /deployments/{deployment_id}", READ, "deployment"),
    api("GET /endpoints", READ),
    api("GET /endpoints/{name}", READ, "endpoint"),
    api("GET /endpoints/{name}/served", READ, "endpoint", params={"at": "2100-01-01T00:00:00Z"}),
    api("POST /endpoints/{name}/rollback", DEPLOY, "endpoint", answers=(409,)),
    api("DELETE /endpoints/{name}", DEPLOY, "served_endpoint", fresh=True),
    # A prediction has a history of its own.
    api("POST /predictions", PREDICT, "model", json={"model_id": "{thing}", **_PREDICT}, audited=False),
    api("POST /predictions", PREDICT, "endpoint", json={"model_id": "{thing}", **_PREDICT}, audited=False),
    api("GET /predictions", OWN_HISTORY),
    api(
        "GET /predictions",
        READ_FILTERED,
        "model",
        params={"model_id": "{thing}"},
    ),
    api("GET /predictions", READ_FILTERED, "project", params={"project_id": "{thing}"}),
    api("GET /predictions", HISTORY_OF, "account", params={"user_id": "{thing}"}),
    api("GET /predictions/{prediction_id}", OWN_HISTORY, "prediction"),
)

ASKS: tuple[Ask, ...] = (
    *ACCOUNTS,
    *PROJECTS,
    *DATASETS,
    *MODELS,
    *SERVING,
    *INTERNALS,
    *OPEN_PAGES,
    *ML,
)
