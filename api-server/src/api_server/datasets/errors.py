from platform_kit.plumbing.problems import Problem, Unavailable


class DatasetNotFound(Problem):
    status, title = 404, "Dataset not found"

    def __init__(self) -> None:
        super().__init__("There is no such dataset, or it is not yours to see.")


class DatasetVersionNotFound(Problem):
    status, title = 404, "Dataset version not found"


class DatasetNotReady(Problem):
    status, title = 409, "Dataset is not ready"


class DatasetInUse(Problem):
    status, title = 409, "Dataset is in use"


class EmptyFile(Problem):
    status, title = 422, "Empty file"


class FileTooLarge(Problem):
    status, title = 413, "File too large"


class FormatNotAccepted(Problem):
    status, title = 415, "Format not accepted"


class NotAForm(Problem):
    status, title = 415, "Not a form"


class UploadBroken(Problem):
    status, title = 400, "Upload is broken"


class StorageAway(Unavailable):
    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__("Object storage does not answer; nothing was kept. Please send the file again.")
