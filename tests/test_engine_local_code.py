"""Classes and functions without a name of their own come back by definition; what has no source is bound to its Python."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Blocked, Completed, changes_of, needs

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import local_code  # noqa: E402
from harness import Store, resume, same_everywhere, start  # noqa: E402

# loops that were killed are collected with what they held, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize("name", [*local_code.BY_DEFINITION, *local_code.OF_ONE_PYTHON])
def test_it_comes_back_as_it_was(name):
    case = getattr(local_code, name)
    assert same_everywhere(case) == Completed(asyncio.run(case()))


@pytest.mark.parametrize("name", local_code.BY_DEFINITION)
def test_what_has_source_is_saved_without_bytecode(name):
    store = Store()
    start(local_code.BY_DEFINITION[name], store=store)
    assert [moment.dill for moment in store.moments] == [None] * len(store.moments)
    assert not any(
        b"bytecode" in payload or b"_code" in payload.replace(b"local_code", b"") for payload in store.payloads
    )


@pytest.mark.parametrize("name", local_code.OF_ONE_PYTHON)
def test_what_has_none_is_bound_to_its_python_and_refused_by_another(name, monkeypatch):
    store = Store()
    start(local_code.OF_ONE_PYTHON[name], store=store)
    assert {moment.dill for moment in store.moments if moment.kind == "step"} == {HERE}
    monkeypatch.setattr(needs, "PYTHON", "3.99")
    outcome = resume(store.payloads[0])
    assert isinstance(outcome, Blocked) and "\n" not in outcome.why
    for part in (
        "agent a: ",
        "code without source (",
        f"only Python {HERE} can run",
        "this is Python 3.99",
        "resume it under",
    ):
        assert part in outcome.why, outcome.why
    with pytest.raises(Exception, match="code without source"):
        changes_of(store.payloads[0])


@local_code.playbook
async def forgets():
    made = eval("lambda x: x + 1")
    total = made(await local_code.effect("one", 1))
    del made
    return total + await local_code.effect("two", 2)


def test_a_checkpoint_is_free_again_when_the_code_is_gone():
    store = Store()
    start(forgets, store=store)
    assert [moment.dill for moment in store.moments] == [HERE, None, None]
