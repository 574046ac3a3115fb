"""Programs that hold values of libraries: arrays, frames, models. Also resumed by other Pythons."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, TypeAdapter, computed_field, field_validator

from playbooks_worker import playbook


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


T = TypeVar("T")


class Link(BaseModel):
    url: str
    seen: datetime.datetime | None = None


class Note(BaseModel):
    model_config = ConfigDict(validate_assignment=True, extra="allow")

    title: Annotated[str, Field(min_length=1)]
    links: list[Link] = []
    kind: Literal["short", "long"] = "short"
    key: uuid.UUID = uuid.UUID(int=1)
    where: Path = Path("a/b")
    secret: SecretStr = SecretStr("s")
    _uses: int = PrivateAttr(default=0)

    @field_validator("title")
    @classmethod
    def stripped(cls, value: str) -> str:
        return value.strip()

    @computed_field
    @property
    def count(self) -> int:
        return len(self.links)


class Frozen(BaseModel, frozen=True):
    x: int


class Answer(BaseModel, Generic[T]):
    value: T


@playbook
async def arrays():
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    view = table[1]
    kept = {
        "table": table,
        "again": table,
        "big": np.ones(100_000),
        "fortran": np.asfortranarray(table),
        "text": np.array(["a", "bcd"]),
        "objects": np.array([{"a": 1}, None], dtype=object),
        "when": np.array(["2026-01-01"], dtype="datetime64[s]"),
        "scalar": np.float64(1.5),
        "structured": np.array([(1, 2.0)], dtype=[("n", "i4"), ("x", "f8")]),
        "masked": np.ma.masked_array([1, 2], mask=[False, True]),
        "type": np.int16,
        "dtype": table.dtype,
        "function": np.sum,
        "generator": np.random.default_rng(7),
    }
    first = kept["generator"].random()
    await effect("one")
    table[0, 0] = 99
    second = kept["generator"].random()
    await effect("two")
    return (
        (kept["table"] is table, kept["again"] is table, table.tolist(), table.dtype is kept["dtype"], view.tolist()),
        (kept["big"].sum(), kept["fortran"].flags.f_contiguous, kept["text"].tolist(), kept["objects"].tolist()),
        (str(kept["when"][0]), type(kept["scalar"]).__name__, kept["structured"]["x"].tolist(), kept["masked"].sum()),
        (kept["type"] is np.int16, kept["function"](table[2]), first, second, kept["generator"].random()),
    )


@playbook
async def frames():
    frame = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "name": ["a", "b", None],
            "when": pd.to_datetime(["2026-01-01"] * 3),
            "kind": pd.Categorical(list("xyx")),
        }
    )
    series = frame["n"] * 2
    indexed = frame.set_index(["name", "n"])
    rest = frame.iloc[1:]
    moment = pd.Timestamp("2026-01-01", tz="Europe/Rome")
    grouped = []
    for name, count in frame.groupby("kind", observed=True)["n"].sum().items():
        grouped.append((await effect(name), int(count)))
    frame.loc[0, "n"] = 10
    await effect("two")
    return (
        frame.to_dict("list")["n"],
        [str(kind) for kind in frame.dtypes][0],
        series.tolist(),
        list(indexed.index.names),
        rest["name"].isna().tolist(),
        (str(moment), str(pd.Timedelta("1D")), pd.NaT is pd.NaT),
        grouped,
        frame["kind"].cat.categories.tolist(),
    )


@playbook
async def rows():
    frame = pd.DataFrame({"n": [1, 2, 3]})
    found = []
    for n in frame["n"].tolist():
        found.append(await effect("row", n))
    for row in list(frame.itertuples()):
        found.append(await effect("tuple", int(row.n)))
    return found


@playbook
async def models():
    note = Note(title=" a ", links=[Link(url="u", seen=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))], more=[1])
    note._uses = 3
    holder = {
        "note": note,
        "link": note.links[0],
        "answer": Answer[int](value=5),
        "class": Note,
        "frozen": {Frozen(x=1): 2},
    }
    adapter = TypeAdapter(list[Link])
    await effect("one")
    note.title = " b "
    links = adapter.validate_python([{"url": "z"}])
    await effect("two")
    try:
        note.title = ""
        failed = False
    except ValueError as error:
        failed = type(error).__name__
        await effect("in the handler")
    return (
        (note.title, note._uses, note.model_extra, note.model_fields_set == {"title", "links", "more"}, note.count),
        (holder["note"] is note, holder["link"] is note.links[0], holder["class"] is Note, failed, links),
        (note.model_dump_json(), note.secret.get_secret_value(), holder["answer"], holder["frozen"][Frozen(x=1)]),
    )


CASES = {one.__name__: one for one in (arrays, frames, rows, models)}
