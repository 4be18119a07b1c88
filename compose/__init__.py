"""The commands of the Docker Compose platform: `make up`, `health`, `backup` and their like.

They need Docker, the Compose plugin and Python 3.11, and nothing that would have to be installed first: the standard
library only. What runs is described in docker-compose.yml; here is what people do with it.
"""
