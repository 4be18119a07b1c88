from platform_kit.plumbing.problems import Problem


class ProjectNotFound(Problem):
    status, title = 404, "Project not found"

    def __init__(self) -> None:
        super().__init__("There is no such project, or it is not yours to see.")


class ProjectNameTaken(Problem):
    status, title = 409, "Project name taken"


class ProjectInUse(Problem):
    status, title = 409, "Project is in use"


class ProjectNotActive(Problem):
    status, title = 409, "Project is not active"


class ConfigInvalid(Problem):
    status, title = 422, "Config invalid"


class AlreadyMember(Problem):
    status, title = 409, "Already a member"


class MemberNotFound(Problem):
    status, title = 404, "Member not found"

    def __init__(self) -> None:
        super().__init__("The project has no such member.")


class PrimaryOwnerStays(Problem):
    status, title = 409, "Primary owner stays"


class NotHandedOver(Problem):
    """The project stays with its primary owner, and the sentence says why."""

    status, title = 409, "Not handed over"


class NotThePrimaryOwner(Problem):
    status, title = 403, "Not the primary owner"

    def __init__(self) -> None:
        super().__init__("Only the project's primary owner or an administrator can hand it over.")


class QuotaExceeded(Problem):
    status, title = 409, "Quota exceeded"


class TooManyJobs(Problem):
    status, title = 429, "Too many jobs"
