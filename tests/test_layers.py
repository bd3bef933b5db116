"""The rules of the house: imports point downwards, each heavy thing has one owner, files stay small.

The rules are functions of source text, so that they can be tried on made-up sources that break them.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "micrographia"

FLOORS = [
    ["errors", "recipes"],
    ["records", "engine"],
    ["recipe", "catalog"],
    ["workspace"],
    ["micrographs"],
    ["literature", "phantoms", "measure", "students"],
    ["teach", "adapt"],
    ["tune"],
    ["assistant"],
    ["evaluate"],
    ["serve"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
"""Rooms on one floor never import each other, and nothing from a floor above. ``recipes`` is data."""

LEARNING = ["measure.segment.network", "students", "adapt", "tune", "assistant", "evaluate", "serve"]
OWNERS: list[tuple[str, list[str], list[str]]] = [
    ("tensors and models", ["torch", "transformers", "safetensors", "accelerate", "peft"], LEARNING),
    (
        "decoding image files",
        [
            *("PIL.Image.open", "PIL.ImageFile", "PIL.TiffImagePlugin", "skimage.io", "imageio", "cv2"),
            *("tifffile.imread", "tifffile.TiffFile", "tifffile.memmap", "imagecodecs.*decode*"),
            *(
                "imagecodecs.imread",
                "matplotlib.image.imread",
                "matplotlib.pyplot.imread",
                "scipy.ndimage.imread",
            ),
        ],
        ["micrographs"],
    ),
    (
        "HTTP clients",
        ["requests", "httpx", "httpx2", "urllib.request", "urllib3", "http.client", "aiohttp", "openai"],
        ["teach.client"],
    ),
    ("SQL", ["sqlalchemy", "alembic", "sqlite3"], ["catalog"]),
    (
        "pickle, which runs code when it is loaded",
        ["pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch.save", "pandas.read_pickle"],
        [],
    ),
]
"""What, by which names, and the only modules that may use it."""

VAGUE = {"util", "utils", "common", "base", "manager", "core", "helpers", "misc"}
HEAVY = ["torch", "transformers", "matplotlib", "scipy", "skimage", "sqlalchemy", "pandas"]
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MIGRATIONS = "catalog.migrations.versions"  # a list of tables is as long as it is
HOME = re.compile("/(home|root|Users|work)/")


def module_name(file: Path) -> str:
    """``teach/client.py`` is "teach.client", ``teach/__init__.py`` is "teach", ``__init__.py`` is ""."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module, module: str, is_package: bool = False) -> Iterator[tuple[int, str, str]]:
    """(line, local name, full dotted name) of everything imported, wherever the statement stands."""
    package = ["micrographia", *module.split(".")] if module else ["micrographia"]
    if module and not is_package:
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.split(".")[0]
                yield node.lineno, local, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = [node.module] if node.module else []
            if node.level:
                origin = [*package[: len(package) - node.level + 1], *origin]
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, ".".join([*origin, alias.name])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).split(".")[-1]
            if called in ("import_module", "__import__"):
                name = str(node.args[0].value)
                if name.startswith("."):
                    name = ".".join(package) + name
                yield node.lineno, "", name


def dotted(node: ast.expr) -> str | None:
    """``a.b.c`` of an attribute chain that starts at a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        origin = dotted(node.value)
        return origin and f"{origin}.{node.attr}"
    return None


def names_used(tree: ast.Module, module: str, is_package: bool = False) -> set[tuple[int, str]]:
    """(line, full dotted name) of everything imported and of every attribute reached through an import."""
    found = list(imports(tree, module, is_package))
    origin = {local: local if full.split(".")[0] == local else full for _, local, full in found if local}
    used = {(line, full) for line, _, full in found}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (chain := dotted(node)):
            first, _, rest = chain.partition(".")
            if first in origin:
                used.add((node.lineno, f"{origin[first]}.{rest}"))
    return used


def upward_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """Imports of a room above, of another on the same floor, or of a room that is in no plan."""
    room = module.split(".")[0]
    if room not in FLOOR:
        return [f"{module}: no room {room!r} in FLOORS"]
    wrong = []
    for line, _, full in imports(ast.parse(source), module, is_package):
        parts = full.split(".")
        if parts[0] != "micrographia" or len(parts) < 2 or parts[1] in (room, "__version__"):
            continue
        other = parts[1]
        if other not in FLOOR:
            wrong.append(f"{module}:{line} imports {full}: no room {other!r} in FLOORS")
        elif FLOOR[other] >= FLOOR[room]:
            wrong.append(f"{module}:{line} imports {full}: {other} is not below {room}")
    return wrong


def trespasses(source: str, module: str, is_package: bool = False) -> list[str]:
    """Names used in ``source`` that belong to another module."""
    wrong = set()
    for line, name in names_used(ast.parse(source), module, is_package):
        for what, patterns, owners in OWNERS:
            taken = any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)
            owned = any(module == owner or module.startswith(f"{owner}.") for owner in owners)
            if taken and not owned:
                wrong.add(f"{module}:{line} uses {name}: {what} belongs to {' '.join(owners) or 'nobody'}")
    return sorted(wrong)


def unsafe_loads(source: str, module: str) -> list[str]:
    """Calls that may unpickle: ``torch.load`` without weights_only=True, ``load`` with allow_pickle."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        options = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if dotted(node.func) == "torch.load" and options.get("weights_only") is not True:
            wrong.append(f"{module}:{node.lineno} torch.load without weights_only=True")
        if any(k.arg == "allow_pickle" for k in node.keywords) and options.get("allow_pickle") is not False:
            wrong.append(f"{module}:{node.lineno} allow_pickle")
    return wrong


def shape_faults(source: str, module: str) -> list[str]:
    """A file or a function too long, a vague name, no docstring, a path into somebody's home."""
    tree = ast.parse(source)
    wrong = [f"{module}: {part!r} says nothing" for part in module.split(".") if part in VAGUE]
    if (lines := len(source.splitlines())) > LONGEST_FILE:
        wrong.append(f"{module} has {lines} lines")
    if not ast.get_docstring(tree):
        wrong.append(f"{module} has no docstring")
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION and not module.startswith(MIGRATIONS):
                wrong.append(f"{module}:{node.lineno} {node.name} has {length} lines")
        elif isinstance(node, ast.Constant) and HOME.search(str(node.value)):
            wrong.append(f"{module}:{node.lineno} an absolute path: {node.value!r:.60}")
    return wrong


def sources() -> list[tuple[str, str, bool]]:
    """(source, module, is a package) of every module of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [(f.read_text(encoding="utf-8"), module_name(f), f.name == "__init__.py") for f in files]


def test_imports_point_downwards():
    rooms = [s for s in sources() if s[1]]
    assert rooms
    assert [fault for source in rooms for fault in upward_imports(*source)] == []


def test_the_root_only_registers_the_students():
    root = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    own = [full for _, _, full in imports(root, "", is_package=True) if full.startswith("micrographia")]
    assert own == ["micrographia.students.auto_classes.register_students"]


def test_each_thing_has_one_owner():
    assert [fault for source in sources() for fault in trespasses(*source)] == []


def test_nothing_unpickles():
    assert [fault for source, module, _ in sources() for fault in unsafe_loads(source, module)] == []


def test_files_and_functions_are_small():
    benchmarks = [
        (f.read_text(encoding="utf-8"), f"benchmarks.{f.stem}") for f in CHECKOUT.glob("benchmarks/*.py")
    ]
    modules = [(source, module) for source, module, _ in sources()] + benchmarks
    assert [fault for source, module in modules for fault in shape_faults(source, module)] == []


@pytest.mark.parametrize(
    "program",
    [
        "import micrographia",
        "from micrographia.cli import app; app(['--help'], standalone_mode=False)",
        "import typer; from micrographia.cli import app\n"
        "    for verb in typer.main.get_command(app).commands: app([verb, '--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_loaded_early(program):
    report = f"print('heavy:', [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    source = f"import sys\ntry:\n    {program}\nfinally:\n    {report}"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stderr


# The rules themselves, on sources that break them.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "import micrographia.records"),
        ("errors", "from micrographia import records"),
        ("errors", "from . import records"),
        ("errors", "from .records import Scale"),
        ("catalog.store", "from ..workspace import Workspace"),
        ("catalog.store", "from micrographia.recipe import Recipe"),  # the same floor
        ("measure.texture", "from micrographia.phantoms import draw"),
        ("teach.generate", "def f():\n    from micrographia.tune.train import tune"),
        ("teach.generate", "import importlib\nimportlib.import_module('micrographia.tune')"),
        ("records", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from micrographia import cli"),
        ("records", "from micrographia.attic import old"),
        ("attic", "import os"),
    ],
)
def test_an_upward_import_is_found(module, source):
    assert len(upward_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source", "is_package"),
    [
        ("records", "from micrographia.errors import RecipeError", False),
        ("catalog.store", "from .tables import metadata\nfrom . import objects", False),
        ("catalog", "from .store import Catalog", True),
        ("cli.tune", "import micrographia.tune.train\nfrom micrographia import __version__", False),
        ("cli.tune", "import numpy, torch.nn", False),
    ],
)
def test_a_downward_import_is_allowed(module, source, is_package):
    assert upward_imports(source, module, is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("measure.texture", "import torch"),
        ("measure.texture", "def f():\n    from torch import nn"),
        ("cli.tune", "from transformers.trainer import Trainer"),
        ("students.vision", "from PIL import Image\nImage.open('a.png')"),
        ("students.vision", "import PIL.Image\nPIL.Image.open('a.png')"),
        ("students.vision", "import PIL.Image as pictures\npictures.open('a.png')"),
        ("students.vision", "from PIL.Image import open as read"),
        ("phantoms.draw", "import tifffile as t\nt.TiffFile('a')"),
        ("phantoms.draw", "import imagecodecs\nimagecodecs.png_decode(b'')"),
        ("phantoms.draw", "from skimage import io"),
        ("phantoms.draw", "import matplotlib.pyplot as plt\nplt.imread('a.png')"),
        ("teach.generate", "from urllib import request"),
        ("teach.generate", "import httpx"),
        ("workspace", "import sqlite3"),
        ("workspace", "import sqlalchemy.orm"),
        ("students.maemi", "import torch\ntorch.save({}, 'a')"),
        ("engine", "import pickle"),
        ("engine", "from joblib import Parallel"),
    ],
)
def test_a_trespass_is_found(module, source):
    assert trespasses(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("students.vision", "import torch.nn.functional as F\nF.relu"),
        ("micrographs.read", "from PIL import Image\nImage.open('a.png')"),
        ("phantoms.draw", "from PIL import Image, ImageDraw\nImage.fromarray\nImageDraw.Draw"),
        ("phantoms.draw", "import tifffile\ntifffile.imwrite"),
        ("catalog.objects", "def torch(path):\n    return path.open('rb')"),
        ("teach.client", "import openai\nimport urllib.parse"),
        ("catalog.store", "import sqlalchemy as sa\nsa.select"),
    ],
)
def test_an_owner_may(module, source):
    assert trespasses(source, module) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("torch.load('a')", 1),
        ("torch.load('a', weights_only=False)", 1),
        ("torch.load('a', weights_only=True)", 0),
        ("np.load('a', allow_pickle=True)", 1),
        ("np.load('a', allow_pickle=flag)", 1),
        ("np.load('a', mmap_mode='r')", 0),
    ],
)
def test_unsafe_loads_are_found(source, faults):
    assert len(unsafe_loads(source, "students.vision")) == faults


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("teach.utils", '"""Says what."""'),
        ("teach.claims", "import os"),
        ("teach.claims", '"""Says what."""\n' + "x = 1\n" * LONGEST_FILE),
        ("teach.claims", '"""Says what."""\ndef f():\n' + "    x = 1\n" * LONGEST_FUNCTION),
        ("teach.claims", '"""Says what."""\nHERE = "/' + 'home/anna/lab"'),
    ],
)
def test_a_shape_fault_is_found(module, source):
    assert len(shape_faults(source, module)) == 1


def test_a_well_shaped_module_passes():
    body = "    x = 1\n" * (LONGEST_FUNCTION - 1)
    assert shape_faults(f'"""Says what."""\ndef f():\n{body}', "teach.claims") == []
