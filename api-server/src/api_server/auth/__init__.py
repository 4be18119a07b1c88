"""Who is calling: accounts, passwords, sessions and tokens. It is the one place that knows a token.

It does not say what somebody may do in a project; `projects` does.
"""
