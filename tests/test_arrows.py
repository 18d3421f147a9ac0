"""The arrows of the design: which package may import which, what is imported where, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("icm", "nerv", "eval", "pipelines")
MAY_IMPORT = {  # besides itself
    "icm": (),
    "nerv": ("icm.bitstream",),
    "eval": (),
    "pipelines": ("icm", "nerv", "eval"),
}
MODULES = [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]
DOTTED = re.compile(rf"({'|'.join(OURS)})(\.\w+)+")
LONGEST = 500


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Every module that a file imports, anywhere in it, relative ones made absolute, names by import_module too."""
    package = name(path) if path.name == "__init__.py" else name(path).rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = ROOT / node.value.replace(".", "/") if DOTTED.fullmatch(node.value) else None
            if place and (place.is_dir() or place.with_suffix(".py").exists()):
                found.append(node.value)
    return found


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_the_packages_are_here() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(OURS)


@pytest.mark.parametrize("package", OURS)
def test_arrows(package: str) -> None:
    wrong = []
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] != package:
            continue
        for module in imports(path):
            if within(module, OURS) and not within(module, (package, *MAY_IMPORT[package])):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_only_the_bitstream_uses_the_entropy_coder() -> None:
    users = [name(path) for path in MODULES if within("constriction", tuple(imports(path)))
             or any(within(module, ("constriction",)) for module in imports(path))]  # fmt: skip
    assert users
    assert all(within(user, ("icm.bitstream",)) for user in users)


def test_the_test_itself_sees_a_wrong_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser of imports on a file written for it."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "eval" / "deep" / "a.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "nerv").mkdir()
    (tmp_path / "nerv" / "h.py").touch()
    path.write_text("from . import b\nfrom ..c import d\nimport icm.codecs as x\n"
                    "def f():\n    from pipelines import g\n    import_module('nerv.h')\n")  # fmt: skip
    assert set(imports(path)) == {"eval.deep.b", "eval.c.d", "icm.codecs", "pipelines.g", "nerv.h"}


@pytest.mark.parametrize("root", [*OURS, "tests", "benchmarks"])
def test_files_are_short(root: str) -> None:
    long = {str(path.relative_to(ROOT)): lines for path in (ROOT / root).rglob("*.py")
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST}  # fmt: skip
    assert not long


@pytest.mark.slow
def test_every_module_imports_by_itself_without_detectron2_ray_or_network() -> None:
    """All modules in one fresh process in which the optional packages cannot be imported."""
    code = (
        "import importlib, socket, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "for name in ('detectron2', 'ray', 'facenet_pytorch'): sys.modules[name] = None\n"
        "def refuse(*a, **k): raise OSError('network')\n"
        "socket.socket.connect = refuse\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
    )
    names = [name(path) for path in MODULES if path.name != "__main__.py"]
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
