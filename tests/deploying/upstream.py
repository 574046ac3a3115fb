"""Validates custom resources by the definitions of those who make them: KEDA and the Prometheus operator.

`make tools` gets them as packages for node (@kubernetes-models, MIT, generated from the operators' own Go types). Each
manifest is read twice. Their validators see types, patterns, bounds, and what has to be there; but they let fields pass
that nobody knows. The TypeScript compiler sees exactly these, at any depth, where the manifest is a literal of the
definition's type. Called by the tests of manifests; knows nothing of what deploy/ says.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from rendering import ROOT, Manifest, missing, tool

MODELS = ROOT / ".venv-tools" / "node_modules"
PACKAGES = {
    "keda.sh": "@kubernetes-models/keda",
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
}
"""By the group of the API, as in `apiVersion`."""
STRICT = "--noEmit --strict --skipLibCheck --module nodenext --target es2022 --pretty false".split()


def is_custom(manifest: Manifest) -> bool:
    """Not Kubernetes' own: those groups are single words, or end in k8s.io."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return "." in group and not group.endswith(".k8s.io")


def upstream_errors(manifests: list[Manifest], folder: Path) -> str:
    """What their definitions have against *manifests*, a line each; empty where nothing. Writes into *folder*, a new one."""
    node = tool("node", "install Node.js 20 or newer with npm, then make tools")
    if not (MODELS / "typescript").exists():
        missing("the definitions of custom resources are not there: make tools")
    folder.mkdir()
    (folder / "node_modules").symlink_to(MODELS)
    (folder / "types.mts").write_text("\n".join(_typed(number, each) for number, each in enumerate(manifests)))
    (folder / "values.mjs").write_text("\n".join(_validated(number, each) for number, each in enumerate(manifests)))
    compiler = [node, str(MODELS / "typescript" / "bin" / "tsc"), *STRICT, "types.mts"]
    return _said(compiler, folder) + _said([node, "values.mjs"], folder)


def _model(manifest: Manifest) -> str:
    group, _, _ = manifest["apiVersion"].partition("/")
    return f"{PACKAGES[group]}/{manifest['apiVersion']}/{manifest['kind']}"


def _typed(number: int, manifest: Manifest) -> str:
    kind = manifest["kind"]
    return (
        f'import type {{ I{kind} as T{number} }} from "{_model(manifest)}";\n'
        f"const m{number}: T{number} = {json.dumps(manifest, indent=1)};"
    )


def _validated(number: int, manifest: Manifest) -> str:
    kind = manifest["kind"]
    return (
        f'import {{ {kind} as M{number} }} from "{_model(manifest)}";\n'
        f"try {{ new M{number}({json.dumps(manifest)}).validate() }}\n"
        f'catch (error) {{ console.log("{kind}: " + error.message); process.exitCode = 1 }}'
    )


def _said(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
