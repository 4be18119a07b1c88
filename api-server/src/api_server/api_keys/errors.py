from platform_kit.plumbing.problems import Problem


class ApiKeyInvalid(Problem):
    status, title = 422, "API key invalid"
