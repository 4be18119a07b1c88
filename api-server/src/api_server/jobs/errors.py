from platform_kit.plumbing.problems import Problem


class JobNotFound(Problem):
    status, title = 404, "Job not found"

    def __init__(self) -> None:
        super().__init__("There is no such job, or it is not yours to see.")


class JobIsOver(Problem):
    status, title = 409, "Job is over"


class JobIsNotOver(Problem):
    status, title = 409, "Job is not over"


class JobHasBegun(Problem):
    status, title = 409, "Job does not wait any more"


class CannotBeDoneAgain(Problem):
    """What the job was about is gone, or is well without it."""

    status, title = 409, "Cannot be done again"


class Fenced(Problem):
    """This worker's attempt is not the current one any more."""

    status, title = 409, "Fenced"
