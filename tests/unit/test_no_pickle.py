"""From bytes to code there is no way: what makes code of data is named in one module, which nothing imports.

The first half reads the source, the second runs the main job where importing pickle fails.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gpyro_cli
import pytest

import gpyro
from tests.support.programs import make_environment

#: Modules that make code or objects of any class out of data.
MODULES = {
    "pickle", "_pickle", "pickletools", "copyreg", "marshal", "shelve", "dbm", "dill", "cloudpickle", "jsonpickle",
    "yaml",
    "joblib", "codeop", "runpy", "imp", "pkgutil", "importlib", "ctypes", "cffi", "xmlrpc", "multiprocessing",
}  # fmt: skip
#: Built-in functions that do.
FUNCTIONS = {"eval", "exec", "compile", "__import__", "breakpoint", "execfile"}
#: Methods that do, of whatever module; `re.compile` is none.
METHODS = {"loads", "import_module", "find_class", "load_module", "exec_module", "run_path", "run_module"}
KEYWORDS = {"allow_pickle"}

PICKLING = "gpyro/_serializers/pickling.py"

#: File: what it may name, and why that leads nowhere.
ALLOWED = {
    PICKLING: {"pickle"},
    # The names are constants of the module's own tables.
    "gpyro/__init__.py": {"importlib"},
    "gpyro/seams.py": {"importlib"},
    "gpyro/hub.py": {"importlib"},
    "cli/gpyro_cli/main.py": {"importlib"},
    # Asks whether a library is installed, by a constant name.
    "cli/gpyro_cli/certs.py": {"importlib"},
    # json.loads, of what the user types or of the user's own file.
    "cli/gpyro_cli/_es_publish.py": {"loads"},
    "cli/gpyro_cli/_nsc_look.py": {"loads"},
    "cli/gpyro_cli/_nsc_transfer.py": {"loads"},
    # Three functions of Python's own C interface, by constant names: they make bytes, a bytearray and a view.
    "gpyro/_hub/memory.py": {"ctypes"},
    # re2.compile, which compiles a regular expression as re.compile does.
    "gpyro/_patterns/linear.py": {"compile"},
    # The command's own module, for `python -m gpyro.naming`.
    "gpyro/util.py": {"importlib"},
    # `Pyro.x` is the module `gpyro.pyro3.x`, where there is one; the names stand in import statements.
    "gpyro/_pyro3/installing.py": {"importlib"},
    "gpyro/_pyro3/lazy.py": {"importlib"},
    # Runs the program that whoever starts Python names, as Python does.
    "gpyro/_pyro3/running.py": {"compile", "exec", "importlib"},
    # A plugin that whoever starts a name server names, as `gpyro ns -s MODULE`.
    "gpyro/_naming/plugins.py": {"importlib"},
}
#: Each use of importlib, exactly.
IMPORTS = {
    ("gpyro/__init__.py", "import_module(_WHERE[name])"),
    ("gpyro/__init__.py", "import_module(f'gpyro.{name}')"),
    ("gpyro/seams.py", "import_module(self.room)"),
    ("gpyro/hub.py", "import_module(f'gpyro._hub.{_WHERE[name]}')"),
    ("gpyro/util.py", "import_module('gpyro_cli.main')"),
    ("gpyro/_naming/plugins.py", "import_module(module_name)"),
    ("gpyro/_pyro3/installing.py", "import_module(self._real)"),
    ("gpyro/_pyro3/lazy.py", "import_module(f'{package}.{name}')"),
    ("cli/gpyro_cli/main.py", "import_module(f'gpyro_cli.{COMMANDS[cmd_name][0]}')"),
}


def sources() -> dict[str, str]:
    """Return every module of gpyro and of its command, by its path in the repository."""
    homes = {"gpyro": Path(gpyro.__file__).parent, "cli/gpyro_cli": Path(gpyro_cli.__file__ or "").parent}
    return {
        f"{name}/{path.relative_to(home).as_posix()}": path.read_text()
        for name, home in homes.items()
        for path in sorted(home.rglob("*.py"))
    }


def found_in(source: str) -> Iterator[str]:
    """Name everything in a module that makes code of data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            root = (node.module or "").split(".")[0]
            if not node.level and root in MODULES:
                yield root
            names = {alias.name for alias in node.names}
            yield from names & (FUNCTIONS | METHODS - {"import_module"})
        elif isinstance(node, ast.Name) and node.id in FUNCTIONS:
            yield node.id
        elif isinstance(node, ast.Attribute) and _is_dangerous(node):
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value in MODULES | FUNCTIONS | METHODS:
            yield str(node.value)
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            yield str(node.arg)


def _is_dangerous(node: ast.Attribute) -> bool:
    if node.attr in METHODS:
        return True
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    return node.attr in FUNCTIONS and (node.attr != "compile" or owner != "re")


def imports_in(source: str, top_only: bool) -> Iterator[str]:
    """Name the modules that a module imports, when it is itself imported or at all."""
    tree = ast.parse(source)
    nodes = ast.walk(tree) if not top_only else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


SNIPPETS = {
    "import pickle": "pickle", "import pickle as p": "pickle", "from pickle import loads": "pickle",
    "import _pickle": "_pickle", "def f():\n import marshal": "marshal", "import importlib.util": "importlib",
    "from importlib import import_module": "importlib", "eval(x)": "eval", "f = exec": "exec",
    "compile(x, '', 'exec')": "compile", "builtins.eval(x)": "eval", "vars(builtins)['eval']": "eval",
    "sys.modules['pickle']": "pickle", "getattr(m, 'loads')": "loads", "yaml.load(x)": "", "import yaml": "yaml",
    "json.loads(x)": "loads", "m.import_module(x)": "import_module",
    "numpy.load(f, allow_pickle=True)": "allow_pickle",
    "__import__('os')": "__import__", "from builtins import eval": "eval", "re.compile('x')": "", "x = 1": "",
}  # fmt: skip


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_reading_finds_what_it_is_there_for(snippet: str) -> None:
    expected = SNIPPETS[snippet]
    assert (expected in found_in(snippet)) if expected else not [*found_in(snippet)]


def test_source_is_read_at_all() -> None:
    paths = sources().keys()
    assert {PICKLING, "gpyro/serializers.py", "gpyro/connection.py", "cli/gpyro_cli/main.py"} <= paths
    assert len(paths) > 60


@pytest.mark.parametrize("path", sources())
def test_module_makes_no_code_of_data(path: str) -> None:
    assert set(found_in(sources()[path])) <= ALLOWED.get(path, set())


def test_modules_are_imported_by_name_in_nine_places_only() -> None:
    calls = {
        (path, ast.unparse(node))
        for path, source in sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module"
    }
    assert calls == IMPORTS


def test_nothing_imports_pickling_when_it_is_imported() -> None:
    for path, source in sources().items():
        names = [name.split(".")[-1] for name in imports_in(source, True)]
        assert "pickling" not in names and "PickleCodec" not in names, path
    # What it stands on may be imported without it.
    for path in ("pickle_rules", "pickle_machine"):
        below = imports_in(sources()[f"gpyro/_serializers/{path}.py"], False)
        assert not [name for name in below if "pickling" in name or name == "pickle"]


# -- and when it runs ----------------------------------------------------------------------------------------

#: gevent's patching imports pickle for its subprocess module and may; importing it from gpyro, or using it, fails.
POISON = """
import importlib.machinery, os, sys, traceback

def refuse(*args, **kwargs):
    with open(os.environ["POISON_TAKEN"], "a") as file:
        file.write("".join(traceback.format_stack()[:-1]) + "\\n")
    raise ImportError("pickle is not to be used")

importers = [entry.filename for entry in traceback.extract_stack()[:-1] if "importlib" not in entry.filename]
if os.path.realpath(importers[-1]).startswith(tuple(os.environ["POISON_ROOMS"].split(os.pathsep))):
    refuse()
places = [place for place in sys.path if place != os.path.dirname(__file__)]
spec = importlib.machinery.PathFinder.find_spec(__name__, places)
if spec is None:
    raise ImportError("not installed")
spec.loader.exec_module(sys.modules[__name__])
for name in ("load", "loads", "dump", "dumps", "Pickler", "Unpickler", "_Unpickler", "_loads", "_load", "Shelf"):
    if name in globals():
        globals()[name] = refuse
"""


def poisoned(directory: Path) -> tuple[dict[str, str], Path]:
    """Return an environment in which pickle is of no use, and the file that tells who tried."""
    for name in ("pickle", "shelve", "dill", "cloudpickle", "jsonpickle"):
        (directory / f"{name}.py").write_text(POISON)
    environment = make_environment(directory)
    environment["PYTHONPATH"] = os.pathsep.join((str(directory), environment["PYTHONPATH"]))
    # Whole directories: the clone around them, and with it gevent's, may be called gpyro too.
    rooms = [os.path.join(os.path.realpath(room.__path__[0]), "") for room in (gpyro, gpyro_cli)]
    environment["POISON_ROOMS"] = os.pathsep.join(rooms)
    environment["POISON_TAKEN"] = str(directory / "taken")
    return environment, directory / "taken"


def test_whole_main_job_runs_where_pickle_cannot_be_used(tmp_path: Path) -> None:
    # Name server, object server and clients, values of every kind, exceptions, callbacks, attributes: all in
    # processes that inherit the poison.
    environment, taken = poisoned(tmp_path)
    words = [sys.executable, "-m", "gpyro", "demo"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    tried = taken.read_text() if taken.exists() else ""
    assert (done.returncode, tried) == (0, ""), done.stderr[-2000:]
    assert "All as it should be" in done.stdout


PROGRAMS_THAT_PICKLE = {
    "importing it": "import gpyro._serializers.pickling",
    "using what another has imported": "import pickle; pickle.loads(pickle.dumps(1))",
}


@pytest.mark.parametrize("what", PROGRAMS_THAT_PICKLE)
def test_poison_works(what: str, tmp_path: Path) -> None:
    environment, taken = poisoned(tmp_path)
    words = [sys.executable, "-c", PROGRAMS_THAT_PICKLE[what]]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pickle is not to be used" in done.stderr
    assert taken.read_text()
