"""Handing out API keys: what one may be for. `auth` keeps them and knows them again."""
