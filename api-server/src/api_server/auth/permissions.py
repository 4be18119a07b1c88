"""Who may do what: one table, and the one function that enforces it.

docs/access.md is made from this table. Which rows somebody sees at all is decided in SQL (`projects.access`).
"""

from dataclasses import dataclass
from enum import StrEnum

from api_server.auth.actor import Actor
from api_server.auth.errors import KeyIsBound, ProjectRoleMissing, RoleMissing, ScopeMissing, SessionNeeded
from platform_kit.contract.access import ProjectRole, Role, Scope


class Action(StrEnum):
    REGISTER = "account:register"
    LOG_IN = "account:log_in"
    REFRESH = "account:refresh"
    RESET_PASSWORD = "account:reset_password"  # noqa: S105  # what is done, not a secret
    ACCOUNT_READ = "account:read"
    ACCOUNT_CHANGE = "account:change"
    API_KEY_MANAGE = "api_key:manage"
    USER_ADMINISTER = "user:administer"
    AUDIT_READ = "audit:read"
    PROJECT_READ = "project:read"
    PROJECT_CREATE = "project:create"
    PROJECT_CHANGE = "project:change"
    PROJECT_SHARE = "project:share"
    PROJECT_LEAVE = "project:leave"
    PROJECT_DELETE = "project:delete"
    PROJECT_QUOTA = "project:set_quota"
    DATASET_READ = "dataset:read"
    DATASET_CREATE = "dataset:create"
    DATASET_CHANGE = "dataset:change"
    DATASET_DELETE = "dataset:delete"
    MODEL_READ = "model:read"
    MODEL_CREATE = "model:create"
    MODEL_TRAIN = "model:train"
    MODEL_CHANGE = "model:change"
    MODEL_DELETE = "model:delete"
    MODEL_OPERATE = "model:operate"
    JOB_READ = "job:read"
    JOB_CANCEL = "job:cancel"
    JOB_PRIORITIZE = "job:prioritize"
    JOB_RETRY = "job:retry"
    DEPLOYMENT_READ = "deployment:read"
    DEPLOYMENT_DEPLOY = "deployment:deploy"
    DEPLOYMENT_ROLL_BACK = "deployment:roll_back"
    DEPLOYMENT_RETIRE = "deployment:retire"
    PREDICTION_MAKE = "prediction:make"
    PREDICTION_READ = "prediction:read"
    CATALOGUE_READ = "catalogue:read"
    HOUSEKEEPING_READ = "housekeeping:read"
    HOUSEKEEPING_START = "housekeeping:start"


class PlatformDeed(StrEnum):
    """What the platform does by itself, in the words of the audit log; nobody needs leave for it."""

    DATASET_READY = "dataset:ready"
    DATASET_REJECTED = "dataset:rejected"
    DATASET_FAILED = "dataset:failed"
    JOB_FAILED = "job:failed"
    MODEL_VERSION_REGISTERED = "model:version_registered"
    DEPLOYMENT_DEPLOYED = "deployment:deployed"
    DEPLOYMENT_FAILED = "deployment:failed"


@dataclass(frozen=True)
class Rule:
    """What an action needs, all of it.

    role: platform role; None: nobody has to sign in. project: role in the project that the object is in; None: it is in
    none. scope: what an API key needs; None: no key will do. needs_active: not in an archived or completed project.
    """

    says: str
    role: Role | None = Role.USER
    project: ProjectRole | None = None
    scope: Scope | None = None
    needs_active: bool = False


_USER, _MAKER, _ADMIN = Role.USER, Role.DATA_SCIENTIST, Role.ADMIN
_VIEWER, _EDITOR, _OWNER = ProjectRole.VIEWER, ProjectRole.EDITOR, ProjectRole.OWNER

RULES: dict[Action, Rule] = {
    Action.REGISTER: Rule("make an account (REGISTRATION says who)", None),
    Action.LOG_IN: Rule("sign in", None),
    Action.REFRESH: Rule("trade a refresh token for the next pair", None),
    Action.RESET_PASSWORD: Rule("ask for a new password, and set it with a token of an administrator", None),
    Action.CATALOGUE_READ: Rule("read the list of algorithms", None),
    Action.ACCOUNT_READ: Rule("read one's own account", _USER, scope=Scope.READ),
    Action.ACCOUNT_CHANGE: Rule("change one's own account, password and sessions", _USER),
    Action.API_KEY_MANAGE: Rule("make, list and revoke one's own API keys", _USER),
    Action.USER_ADMINISTER: Rule("list accounts, change roles, disable and enable, invite, reset", _ADMIN),
    Action.AUDIT_READ: Rule("read the audit log", _ADMIN, scope=Scope.AUDIT),
    Action.PROJECT_READ: Rule("read a project, its members, activity and usage", _USER, _VIEWER, Scope.READ),
    Action.PROJECT_CREATE: Rule("create a project", _MAKER, scope=Scope.WRITE),
    Action.PROJECT_CHANGE: Rule("change a project and its status", _MAKER, _EDITOR, Scope.WRITE),
    Action.PROJECT_SHARE: Rule("add, change and remove members; hand a project over", _USER, _OWNER),
    Action.PROJECT_LEAVE: Rule("leave a project", _USER, _VIEWER),
    Action.PROJECT_DELETE: Rule("delete a project", _MAKER, _OWNER, Scope.WRITE),
    Action.PROJECT_QUOTA: Rule("set a project's quotas", _ADMIN),
    Action.DATASET_READ: Rule("read, preview and download datasets", _USER, _VIEWER, Scope.READ),
    Action.DATASET_CREATE: Rule("upload datasets and versions", _MAKER, _EDITOR, Scope.WRITE, True),
    Action.DATASET_CHANGE: Rule("rename and describe datasets", _MAKER, _EDITOR, Scope.WRITE),
    Action.DATASET_DELETE: Rule("delete datasets", _MAKER, _EDITOR, Scope.WRITE),
    Action.MODEL_READ: Rule("read models, versions and scores", _USER, _VIEWER, Scope.READ),
    Action.MODEL_CREATE: Rule("create models", _MAKER, _EDITOR, Scope.WRITE, True),
    Action.MODEL_TRAIN: Rule("train models", _MAKER, _EDITOR, Scope.WRITE, True),
    Action.MODEL_CHANGE: Rule("describe models", _MAKER, _EDITOR, Scope.WRITE),
    Action.MODEL_DELETE: Rule("delete models", _MAKER, _EDITOR, Scope.WRITE),
    Action.MODEL_OPERATE: Rule("unload and reload models in memory", _ADMIN, _VIEWER, Scope.DEPLOY),
    Action.JOB_READ: Rule("read and follow jobs", _USER, _VIEWER, Scope.READ),
    Action.JOB_CANCEL: Rule("cancel jobs", _MAKER, _EDITOR, Scope.WRITE),
    Action.JOB_PRIORITIZE: Rule("change a waiting job's priority", _MAKER, _EDITOR, Scope.WRITE),
    Action.JOB_RETRY: Rule("do failed and cancelled jobs again", _MAKER, _EDITOR, Scope.WRITE, True),
    Action.DEPLOYMENT_READ: Rule("read deployments and endpoints", _USER, _VIEWER, Scope.READ),
    Action.DEPLOYMENT_DEPLOY: Rule("deploy", _MAKER, _EDITOR, Scope.DEPLOY, True),
    Action.DEPLOYMENT_ROLL_BACK: Rule("roll back", _MAKER, _EDITOR, Scope.DEPLOY),
    Action.DEPLOYMENT_RETIRE: Rule("stop serving", _MAKER, _EDITOR, Scope.DEPLOY),
    Action.PREDICTION_MAKE: Rule("predict", _USER, _VIEWER, Scope.PREDICT),
    Action.PREDICTION_READ: Rule("read one's own predictions", _USER, scope=Scope.READ),
    Action.HOUSEKEEPING_READ: Rule("see what housekeeping is done", _ADMIN),
    Action.HOUSEKEEPING_START: Rule("start housekeeping", _ADMIN),
}


def authorize(actor: Actor, action: Action) -> None:
    """Let the actor do what needs no object, or refuse: SessionNeeded, ScopeMissing, KeyIsBound, RoleMissing."""
    rule = RULES[action]
    if actor.key is not None:
        _authorize_key(actor, action, rule)
    if rule.role is not None and not actor.role.covers(rule.role):
        raise RoleMissing(
            f"You are {actor.role}, and this needs the role {rule.role}: {rule.says}. An administrator can give it."
        )


def authorize_in_project(actor: Actor, action: Action, role: ProjectRole | None) -> None:
    """Let the actor, who has `role` in the project, do this there; also raises ProjectRoleMissing."""
    authorize(actor, action)
    need = RULES[action].project
    if need is None or actor.is_admin or (role is not None and role.covers(need)):
        return
    raise ProjectRoleMissing(f"In this project you are {role}; this needs {need}. An owner can give it.")


def _authorize_key(actor: Actor, action: Action, rule: Rule) -> None:
    assert actor.key is not None
    if rule.scope is None:
        raise SessionNeeded
    if rule.scope not in actor.key.scopes:
        have = ", ".join(sorted(actor.key.scopes))
        raise ScopeMissing(f"This API key is for {have}; this needs the scope {rule.scope}.")
    if action is Action.PROJECT_CREATE and actor.bound_to is not None:
        raise KeyIsBound("This API key is bound to one project and cannot create another.")
