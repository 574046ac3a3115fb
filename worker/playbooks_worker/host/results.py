"""How an agent ended, as JSON that anybody may read without unpickling anything.

Called by `life` for the header of the final checkpoint. Never raises: a result that cannot be shown is no reason to fail
an agent that has done its work.
"""

from __future__ import annotations

import json
from typing import Any

import pydantic_core


def jsonable(value: object) -> Any:
    """*value* as JSON: pydantic's reading of it, `repr` for what JSON cannot hold, non-finite numbers as text."""
    try:
        plain = pydantic_core.to_jsonable_python(value, fallback=repr)
        try:
            json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:
            plain = json.loads(pydantic_core.to_json(value, fallback=repr, inf_nan_mode="strings"))
        return plain
    except Exception:  # a cycle, bytes that are no text, a repr that raises, a lone surrogate
        return _printed(value)


def failure(error: BaseException | None, traceback: str) -> dict[str, str]:
    """The `error` of a header. The type is the bare class name, which is what scripts match."""
    return {
        "type": type(error).__name__ if error is not None else "Exception",
        "message": _said(error),
        "traceback": _text(traceback),
    }


def _said(error: BaseException | None) -> str:
    try:
        return _text(str(error)) if error is not None else ""
    except Exception:
        return "(its message could not be printed)"


def _printed(value: object) -> str:
    try:
        return _text(repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
