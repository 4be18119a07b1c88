from platform_kit.plumbing.problems import Problem


class ProjectNotFound(Problem):
    status, title = 404, "Project not found"

    def __init__(self) -> None:
        super().__init__("There is no such project, or it is not yours to see.")


class ProjectRoleMissing(Problem):
    status, title = 403, "Project role missing"


class ProjectNameTaken(Problem):
    status, title = 409, "Project name taken"


class ProjectInUse(Problem):
    status, title = 409, "Project is in use"
