"""What is needed for what, as the platform promises it. It knows nothing of the code's own table."""

from platform_kit.contract.access import ProjectRole, Role, Scope
from tests.access.oracle import Need, Reach


def scopes(*names: Scope) -> frozenset[Scope]:
    return frozenset(names)


_MAKER, _ADMIN = Role.DATA_SCIENTIST, Role.ADMIN
_VIEWER, _EDITOR, _OWNER = ProjectRole.VIEWER, ProjectRole.EDITOR, ProjectRole.OWNER

SELF_READ = Need(scopes=scopes(Scope.READ), reach=Reach.PERSON)
SELF = Need(reach=Reach.PERSON)
KEYS = Need(reach=Reach.PERSON_OR_ADMIN)
ADMINISTER = Need(role=_ADMIN, reach=Reach.EVERYTHING)
AUDIT = Need(role=_ADMIN, scopes=scopes(Scope.AUDIT))
READ = Need(project=_VIEWER, scopes=scopes(Scope.READ))
READ_FILTERED = Need(scopes=scopes(Scope.READ), reach=Reach.FILTER)
EDIT = Need(role=_MAKER, project=_EDITOR, scopes=scopes(Scope.WRITE))
NEW_PROJECT = Need(role=_MAKER, scopes=scopes(Scope.WRITE), unbound=True)
DELETE_PROJECT = Need(role=_MAKER, project=_OWNER, scopes=scopes(Scope.WRITE))
SHARE = Need(project=_OWNER)
LEAVE = Need(project=_VIEWER, member=True)
SHARE_WITH = Need(project=_OWNER, reach=Reach.EVERYTHING)
QUOTA = Need(role=_ADMIN, reach=Reach.EVERYTHING)
DEPLOY = Need(role=_MAKER, project=_EDITOR, scopes=scopes(Scope.DEPLOY))
OPERATE = Need(project=_VIEWER, scopes=scopes(Scope.DEPLOY), reach=Reach.ADMINISTERED)
PREDICT = Need(project=_VIEWER, scopes=scopes(Scope.PREDICT))
ASK_ABOUT = Need(project=_VIEWER, scopes=scopes(Scope.PREDICT, Scope.READ))
OWN_HISTORY = Need(scopes=scopes(Scope.READ), reach=Reach.PERSON_OR_ADMIN)
ASK_WHOSE = Need(reach=Reach.PERSON_FILTER, hidden=403)
"""To choose in a list whose things it shows."""
HISTORY_OF = Need(scopes=scopes(Scope.READ), reach=Reach.PERSON_FILTER, hidden=403)
IN_A_PROJECT = Need(project=_VIEWER)
