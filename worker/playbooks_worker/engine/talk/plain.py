"""Values that pass between agents: plain JSON data, made of what a program gives, once, where it gives it."""

from __future__ import annotations

import json
from typing import Any

import pydantic_core


def plain(value: Any, what: str) -> Any:
    """*value* as JSON data: dataclasses, models, dates and their like as pydantic writes them. The caller's own objects are
    not kept. Raises TypeError for what JSON cannot hold."""
    try:
        made = pydantic_core.to_jsonable_python(value)
        text = json.dumps(made, allow_nan=False)
    except Exception as error:
        raise TypeError(f"{what}: what passes between agents is JSON data, and this is not: {error}") from None
    return json.loads(text)
