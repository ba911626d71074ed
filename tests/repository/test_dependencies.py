"""Every package that the code imports is declared, and none only by way of another."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.repository.tracked_files import ROOT

PACKAGES = ("mt3_model", "service")
NOT_INSTALLED = {"pyarrow": "ray", "ray": "ray", "seqio": "seqio", "tensorflow": "seqio"}
"""Imports of extras that have an environment of their own, and the declared distribution that each
belongs to: ``ray[data]`` brings pyarrow, and seqio is TensorFlow's."""


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {normalized(re.match(r"[\w.-]+", line)[0]) for group in groups for line in group}


distributions = functools.cache(packages_distributions)


def third_party_imports():
    found = {}
    for path in sorted(each for package in PACKAGES for each in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import():
                    modules = [alias.name for alias in node.names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in PACKAGES:
                    found.setdefault(top, path.relative_to(ROOT).as_posix())
    return found


def is_declared(module):
    providers = distributions().get(module) or [NOT_INSTALLED.get(module, module)]
    return bool(declared() & {normalized(name) for name in providers})


def test_imported_packages_are_declared():
    undeclared = {
        module: first_in
        for module, first_in in third_party_imports().items()
        if not is_declared(module)
    }
    assert not undeclared, "pyproject.toml does not declare these modules, imported in these files"


def test_what_is_overridden_in_uvicorn_is_bounded():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    (line,) = [line.strip() for line in lines if line.strip().startswith('"uvicorn')]
    assert re.fullmatch(r'"uvicorn>=[\d.]+,<[\d.]+",', line)
