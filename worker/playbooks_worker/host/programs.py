"""Loads PROGRAM, a `.py` file or an importable module, the way every process of ours does: `run`, workers, tests.

A file is imported as module `<stem>`, with its folder first on `sys.path`, and stands in `sys.modules` before it runs;
never as `__main__`. So its functions and classes have the same names in every process that resumes an agent. A stem that
means something else to `import` would break that, silently, and is refused. Knows no store and no agent.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from playbooks_providers.model import ProgramInfo
from playbooks_worker.engine import PlaybookRefused, playbooks_in
from playbooks_worker.host.signatures import bind, signature_table

_NOT_THEIRS = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))


class ProgramError(Exception):
    """A program that cannot be hosted. One line: which, where in the user's own file, what to do."""


@dataclass(frozen=True)
class Program:
    """A loaded program. ``name`` is its module's name; ``build`` a short hash of the module's source."""

    name: str
    module: ModuleType
    build: str
    playbooks: dict[str, Callable[..., Any]] = field(repr=False)

    def playbook(self, entry: str) -> Callable[..., Any]:
        """The playbook named *entry*. Raises `ProgramError` listing those there."""
        try:
            return self.playbooks[entry]
        except KeyError:
            raise ProgramError(no_such_playbook(self.name, entry, self.playbooks)) from None

    def bind(self, entry: str, args: list[Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """The playbook *entry*, which these arguments fit. Raises `ProgramError` or `ArgumentsError`."""
        function = self.playbook(entry)
        bind(entry, signature_table(inspect.signature(function)), args, kwargs)
        return function

    def info(self, queue: str | None = None) -> ProgramInfo:
        """What a worker publishes about it; its agents' queue is the program's name unless said otherwise."""
        signatures = {name: signature_table(inspect.signature(made)) for name, made in self.playbooks.items()}
        return ProgramInfo(self.name, queue or self.name, self.build, signatures)


def no_such_playbook(program: str, entry: str, there: Iterable[str]) -> str:
    """The one line about a playbook that a program does not have; `submit` says it from what workers published."""
    return f"program {program} has no playbook {entry!r}; it has: {', '.join(sorted(there)) or 'none'}"


def load_all(texts: Iterable[str]) -> dict[str, Program]:
    """Load several programs, by name. Two that would be the same module are refused before either runs."""
    texts = list(texts)
    seen: dict[str, str] = {}
    for text in texts:
        name = program_name(text)
        if name in seen:
            raise ProgramError(f"{seen[name]} and {text} would both be the program {name!r}; rename one of them")
        seen[name] = text
    return {program.name: program for program in map(load, texts)}


def program_name(text: str) -> str:
    """The name that PROGRAM has or would have, without loading it."""
    return Path(text).stem if _is_file(text) else text


def load(text: str) -> Program:
    """Load PROGRAM. Raises `ProgramError`: missing, shadowing, a syntax error, an error while importing, no playbook."""
    module = load_module(text)
    # A method needs an instance, which no start record can hold: entries are functions of the module.
    playbooks = {name: made for name, made in playbooks_in(module).items() if "." not in name}
    if not playbooks:
        raise ProgramError(f"{text} has no playbook: decorate an `async def` at module level with @playbook")
    return Program(module.__name__, module, _build(module), playbooks)


def load_module(text: str) -> ModuleType:
    """The module of PROGRAM, whatever is in it. Raises `ProgramError`."""
    return _load_file(text) if _is_file(text) else _import_module(text)


def _is_file(text: str) -> bool:
    return text.endswith(".py") or "/" in text or os.sep in text


def _load_file(text: str) -> ModuleType:
    path = Path(text).resolve()
    if path.is_dir():
        raise ProgramError(f"{text} is a folder; name a .py file, or a package by its import name")
    if not path.is_file():
        raise ProgramError(f"no such file: {text}")
    if path.suffix != ".py":
        raise ProgramError(f"{text} is not a .py file")
    name = path.stem
    if "." in name or name == "__main__":
        raise ProgramError(f"{text}: {name!r} cannot be the name of a module; rename the file")
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path:
        return loaded
    _refuse_shadow(text, name, path)
    folder = str(path.parent)
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # the suffix is .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a program that exits while it is imported cannot be hosted
        del sys.modules[name]
        raise ProgramError(_why_not_loaded(text, error)) from error
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ProgramError(f"{name!r} is neither a .py file nor the name of a module")
    cwd = os.getcwd()
    if cwd not in sys.path:  # as `python -m` does; our own processes start without it
        sys.path.insert(0, cwd)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            hint = f"; did you mean {name}.py?" if Path(f"{name}.py").is_file() else ""
            raise ProgramError(f"no module named {error.name!r}{hint}") from error
        raise ProgramError(_why_not_loaded(name, error)) from error


def _refuse_shadow(text: str, name: str, path: Path) -> None:
    """Raise when `import name` means something else to other code in this process, or would without our folder."""
    if name in sys.stdlib_module_names:
        raise ProgramError(f"{text} would shadow the standard library's module {name!r}; rename the file")
    if name in sys.modules:
        where = getattr(sys.modules[name], "__file__", None) or "built in"
        raise ProgramError(f"{text} would shadow the module {name!r} that is already loaded ({where}); rename the file")
    skipped = {str(path.parent), os.getcwd(), ""}
    elsewhere = [entry for entry in sys.path if entry not in skipped]
    for finder in sys.meta_path:
        paths = elsewhere if finder is importlib.machinery.PathFinder else None
        spec = finder.find_spec(name, paths)
        # A namespace package (any folder of that name) gives way to a real module: it shadows nothing.
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() != path:
            raise ProgramError(f"{text} would shadow the installed module {name!r} ({spec.origin}); rename the file")


def _why_not_loaded(text: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} does not compile: {error.filename}:{error.lineno}: {error.msg}"
    if isinstance(error, PlaybookRefused):  # says file, line and construct itself
        return str(error)
    message = " ".join(str(error).split())
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{text} could not be imported: {what}{_place(error)}"


def _place(error: BaseException) -> str:
    """The innermost line of the user's own code: not ours, not the import system's, not an installed package's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and not frame.filename.startswith(_NOT_THEIRS)
        and not {"site-packages", "dist-packages"}.intersection(Path(frame.filename).parts)
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _build(module: ModuleType) -> str:
    """From the text that the loader executes, not from the file: what is deployed, and works inside a zip."""
    loader: Any = getattr(module.__spec__, "loader", None)
    source = loader.get_source(module.__name__) if hasattr(loader, "get_source") else None
    return hashlib.sha256((source or module.__name__).encode()).hexdigest()[:12]
