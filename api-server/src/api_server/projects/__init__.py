"""Workspaces: each dataset, job and model belongs to one, and its members may see it.

It counts what is in a project, for its quotas and before it is deleted; what those things are it does not know.
"""
