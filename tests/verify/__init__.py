"""What this platform promises, each checked over the network against a running one: `make verify`.

    API_URL=http://127.0.0.1:8000 ML_URL=http://127.0.0.1:8001 PLATFORM_DATA_DIR=.data python -m tests.verify [words]

It prints a line per promise and exits with 1 if any is broken. Words select by id or by text: `S21`, `upload`.

To add a row, write a function in the module of its area (or a new module, named in `__main__.AREAS`):

    @promise("S21", "anyone can register and log in; nobody can choose a role")
    def registration(scene: Scene) -> str:
        ...                                   # act over HTTP
        expect(condition, "what is wrong")    # assert an effect, not a status code alone
        return "what was seen"                # one short sentence, with the numbers

The ids are those of the list of promises that the platform keeps; one function may keep several (`"S51 S67"`). Costly
things that several rows need (a profiled data set, a deployed model) are made once, by `Scene`.
"""
