"""Audit the installed standard library: a real job of some two thousand awaits, in playbooks nested three deep.

playbooksctl run examples/audit.py

`main` audits one section of the library after the other (a package, or the loose modules of one letter); a section's
modules are audited three at a time; each module is parsed, measured and cross-referenced by effects that really do it,
in threads. Every effect appends one line ``key <tab> pid`` to the log when it begins, and nothing else outside the
agent: the log tells, after any number of crashes, what ran, how often, and in which process (`demo.py` reads it).
"""

import ast
import asyncio
import os
import sysconfig
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from playbooks_worker import playbook

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
AT_ONCE = 3
SKIPPED = {"__pycache__", "dist-packages", "idle_test", "lib-dynload", "site-packages", "test", "tests"}
PARSING = threading.Lock()
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.BoolOp, ast.comprehension)
Facts = dict[str, Any]


# --- playbooks ---------------------------------------------------------------------------------------------------------


@playbook
async def main(log: str = "effects.log", only: list[str] | None = None) -> Facts:
    """Audit every section, or the sections named in *only*."""
    names = await survey(log)
    sections = []
    imported: dict[str, int] = {}
    for name in names:
        if only is not None and name not in only:
            continue
        audit = await audit_section(name, log)
        for target, times in audit.pop("imported").items():
            imported[target] = imported.get(target, 0) + times
        sections.append(audit)
    return await summarise(sections, imported, log)


@playbook
async def audit_section(name: str, log: str) -> Facts:
    modules = await list_modules(name, log)
    audits = []
    for first in range(0, len(modules), AT_ONCE):
        calls = [audit_module(module, log) for module in modules[first : first + AT_ONCE]]
        audits += await asyncio.gather(*calls)
    return await rank(name, audits, log)


@playbook
async def audit_module(module: str, log: str) -> Facts:
    shape = await parse(module, log)
    measures = await measure(module, log)
    references = await cross_reference(module, log)
    return {"module": module, **shape, **measures, **references}


# --- effects -----------------------------------------------------------------------------------------------------------


async def survey(log: str) -> list[str]:
    record(log, "survey")
    return sorted(await asyncio.to_thread(library))


async def list_modules(section: str, log: str) -> list[str]:
    record(log, f"list {section}")
    return (await asyncio.to_thread(library))[section]


async def parse(module: str, log: str) -> Facts:
    record(log, f"parse {module}")
    return await asyncio.to_thread(shape_of, module)


async def measure(module: str, log: str) -> Facts:
    record(log, f"measure {module}")
    return await asyncio.to_thread(measures_of, module)


async def cross_reference(module: str, log: str) -> Facts:
    record(log, f"cross-reference {module}")
    return await asyncio.to_thread(references_of, module)


async def rank(section: str, audits: list[Facts], log: str) -> Facts:
    """Fold the audits of a section into a few numbers and its most complex function."""
    record(log, f"rank {section}")
    imported: Counter[str] = Counter()
    for audit in audits:
        imported.update(audit["imports"])
    return {
        "section": section,
        "modules": len(audits),
        "lines": sum(audit["lines"] for audit in audits),
        "functions": sum(audit["functions"] for audit in audits),
        "documented": sum(audit["documented"] for audit in audits),
        "unused_imports": sum(len(audit["unused"]) for audit in audits),
        "most_complex": max((audit["most_complex"] for audit in audits), default=[0, ""]),
        "imported": dict(imported),
    }


async def summarise(sections: list[Facts], imported: dict[str, int], log: str) -> Facts:
    record(log, "summarise")
    functions = sum(section["functions"] for section in sections)
    documented = sum(section["documented"] for section in sections)
    return {
        "sections": len(sections),
        "modules": sum(section["modules"] for section in sections),
        "lines": sum(section["lines"] for section in sections),
        "functions": functions,
        "documented_percent": round(100 * documented / max(functions, 1), 1),
        "unused_imports": sum(section["unused_imports"] for section in sections),
        "most_imported": [[name, times] for name, times in Counter(imported).most_common(5)],
        "most_complex": sorted((section["most_complex"] for section in sections), reverse=True)[:5],
    }


def record(log: str, key: str) -> None:
    """One line per effect begun. A single appending write: whole lines, whichever processes write."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{key}\t{os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


# --- the work itself ---------------------------------------------------------------------------------------------------


def library() -> dict[str, list[str]]:
    """The modules of the standard library by section: a package, or the loose modules that share a first letter."""
    sections: dict[str, list[str]] = {}
    for folder, folders, files in os.walk(LIBRARY):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and name.isidentifier())
        for name in sorted(files):
            if name.endswith(".py"):
                path = (Path(folder) / name).relative_to(LIBRARY)
                section = path.parts[0] if len(path.parts) > 1 else f"{name.lstrip('_')[0].lower()}*.py"
                sections.setdefault(section, []).append(path.as_posix())
    return sections


def tree_of(module: str) -> ast.Module:
    """Python 3.11 counts the depth of all trees that are being made in one place: one thread at a time."""
    with PARSING:
        return ast.parse((LIBRARY / module).read_bytes())


def shape_of(module: str) -> Facts:
    """How long the module is, what it defines, and how much of that is documented."""
    functions = classes = documented = 0
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
            documented += ast.get_docstring(node, clean=False) is not None
        elif isinstance(node, ast.ClassDef):
            classes += 1
    lines = (LIBRARY / module).read_bytes().count(b"\n")
    return {"lines": lines, "functions": functions, "classes": classes, "documented": documented}


def measures_of(module: str) -> Facts:
    """The function with the most branches (McCabe's number, roughly)."""
    worst = [0, module]
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            branches = 1 + sum(isinstance(inner, BRANCHES) for inner in ast.walk(node))
            worst = max(worst, [branches, f"{module}:{node.lineno} {node.name}"])
    return {"most_complex": worst}


def references_of(module: str) -> Facts:
    """Which modules it imports, and which imported names it never uses."""
    imports: set[str] = set()
    bound: dict[str, str] = {}
    used: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
            bound.update({alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            imports.add("." * node.level + (node.module or ""))
            bound.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name != "*"})
        elif isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used.add(node.value)  # a name in __all__ is a use
    return {"imports": sorted(imports), "unused": sorted(set(bound) - used)}
