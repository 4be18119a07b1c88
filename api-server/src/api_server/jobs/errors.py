from platform_kit.plumbing.problems import Problem


class JobNotFound(Problem):
    status, title = 404, "Job not found"

    def __init__(self) -> None:
        super().__init__("There is no such job, or it is not yours to see.")


class JobIsOver(Problem):
    status, title = 409, "Job is over"


class NothingToClaim(Problem):
    status, title = 409, "Nothing to claim"


class Fenced(Problem):
    """This worker's attempt is not the current one any more."""

    status, title = 409, "Fenced"
