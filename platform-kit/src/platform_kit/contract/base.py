from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A shape that crosses a process boundary: immutable, and nothing unknown slips in."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", protected_namespaces=())


class Readable(BaseModel):
    """A shape that readers accept with fields they do not know yet, so that writers may be newer."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", protected_namespaces=())
