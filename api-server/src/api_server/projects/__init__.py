"""Workspaces: each dataset, job and model belongs to one, and its members may see it.

It does not know what is in a project.
"""
