"""The pinned versions, the licence and the stamps are what the Makefile and a packager rely on."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parent.parent


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    return dict(re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line).groups() for line in pinned)


def test_every_declared_dependency_is_pinned_within_its_bounds():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {canonicalize_name(name): number for name, number in pins().items()}
    declared = [Requirement(r) for r in project["dependencies"] + project["optional-dependencies"]["dev"]]
    assert declared
    for requirement in declared:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_what_is_installed_satisfies_the_pins():
    installed = {canonicalize_name(d.name) for d in distributions()}
    wrong = {
        name: version(name)
        for name, number in pins().items()
        if canonicalize_name(name) in installed and not SpecifierSet(f"=={number}").contains(version(name))
    }
    assert wrong == {}


def test_all_that_the_package_imports_is_declared():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in ("qlora",) for line in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in [*project["dependencies"], *extras]}
    owners = packages_distributions()
    sources = [
        ast.parse(file.read_text(encoding="utf-8")) for file in (CHECKOUT / "micrographia").rglob("*.py")
    ]
    nodes = [node for source in sources for node in ast.walk(source)]
    modules = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    others = {module.partition(".")[0] for module in modules} - {"micrographia"} - sys.stdlib_module_names
    assert "torch" in others
    undeclared = {
        name for name in others if not declared & {canonicalize_name(one) for one in owners.get(name, [name])}
    }
    assert undeclared == set()


def test_the_licence_is_the_one_the_package_declares():
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "The Micrographia authors" in text
