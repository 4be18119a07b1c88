from ml_service.tables.problems import JobProblem


class InvalidPreprocessing(JobProblem):
    title = "Preprocessing is not valid"


class NoFeatures(JobProblem):
    title = "No feature column is left"
