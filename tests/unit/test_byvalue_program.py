"""Which modules are the program's own: told by where files lie, asked at use, and never a library's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gpyro._serializers import program
from gpyro._serializers.program import belongs_to_program, is_listed, lies_under
from gpyro.configuration import PROGRAM, ConfigurationError, Settings, read_surroundings

MAIN = "/app/shop/main.py"
LIBRARIES = ("/usr/lib/python3", "/app/shop/gpyro")


def is_own(module: str, file: str | None, main_file: str | None = MAIN) -> bool:
    return belongs_to_program(module, file, main_file, LIBRARIES)


@pytest.mark.smoke
def test_the_main_script_and_what_lies_under_its_directory_are_the_program() -> None:
    assert is_own("__main__", MAIN)
    assert is_own("orders", "/app/shop/orders.py")
    assert is_own("model.parts", "/app/shop/model/parts.py")
    assert is_own("inside", "/app/shop/main.pyz/inside.py")


def test_what_lies_elsewhere_is_not() -> None:
    assert not is_own("orders", "/app/orders.py")
    assert not is_own("orders", "/app/shop2/orders.py")
    assert not is_own("orders", "/app/shop/../orders.py")
    assert not is_own("sys", None)


@pytest.mark.parametrize(
    "file",
    [
        "/usr/lib/python3/json/decoder.py",
        "/app/shop/env/lib/python3.12/site-packages/attr/__init__.py",
        "/app/shop/dist-packages/six.py",
        "/app/shop/gpyro/errors.py",
    ],
)
def test_libraries_below_the_main_scripts_directory_are_not(file: str) -> None:
    assert not is_own("module", file)
    assert not belongs_to_program("module", file, "/main.py", LIBRARIES)


@pytest.mark.parametrize("main_file", ["/usr/lib/python3/pdb.py", "/venv/site-packages/pytest/__main__.py"])
def test_a_main_script_of_a_library_makes_nothing_the_program(main_file: str) -> None:
    assert not is_own("__main__", main_file, main_file)
    assert not is_own("near", os.path.dirname(main_file) + "/near.py", main_file)


def test_without_a_script_only_the_session_itself_is_the_program() -> None:
    assert is_own("__main__", None, None)
    assert not is_own("orders", "/app/shop/orders.py", None)


def test_links_are_followed_and_lie_where_they_are_as_well(tmp_path: Path) -> None:
    for place in ("bin", "app", "shared", "lib/site-packages"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("app/main.py", "app/orders.py", "shared/parts.py", "lib/site-packages/six.py"):
        (tmp_path / place).touch()
    (tmp_path / "bin/shop").symlink_to(tmp_path / "app/main.py")
    (tmp_path / "app/parts.py").symlink_to(tmp_path / "shared/parts.py")
    (tmp_path / "app/six.py").symlink_to(tmp_path / "lib/site-packages/six.py")
    main = str(tmp_path / "bin/shop")
    assert is_own("orders", str(tmp_path / "app/orders.py"), main)
    assert is_own("parts", str(tmp_path / "app/parts.py"), main)
    assert not is_own("parts", str(tmp_path / "shared/parts.py"), main)
    assert not is_own("six", str(tmp_path / "app/six.py"), main)


def make_files(top: Path, *places: str) -> None:
    for place in places:
        (top / place).parent.mkdir(parents=True, exist_ok=True)
        (top / place).touch()


@pytest.mark.parametrize(
    ("mark", "file"),
    [
        ("lib/attrs-23.1.0.dist-info/METADATA", "lib/six.py"),
        ("lib/attrs-23.1.0.dist-info/METADATA", "lib/attr/deep/parts.py"),
        ("lib/six-1.16.egg-info/PKG-INFO", "lib/six.py"),
        ("vendor/six-1.16/six-1.16.dist-info/WHEEL", "vendor/six-1.16/six.py"),
        ("env/pyvenv.cfg", "env/lib/odd/parts.py"),
    ],
)
def test_what_was_installed_below_the_main_scripts_directory_is_not(
    tmp_path: Path, mark: str, file: str
) -> None:
    make_files(tmp_path, "main.py", "model/parts.py", mark, file)
    main = str(tmp_path / "main.py")
    assert not is_own("module", str(tmp_path / file), main)
    assert is_own("model.parts", str(tmp_path / "model/parts.py"), main)


def test_copied_sources_without_marks_count(tmp_path: Path) -> None:
    make_files(tmp_path, "main.py", "lib/six.py")
    assert is_own("six", str(tmp_path / "lib/six.py"), str(tmp_path / "main.py"))


def test_marks_above_the_main_script_are_nothing_to_it(tmp_path: Path) -> None:
    make_files(tmp_path, "pyvenv.cfg", "some-1.dist-info/RECORD", "app/main.py", "app/model/parts.py")
    assert is_own("model.parts", str(tmp_path / "app/model/parts.py"), str(tmp_path / "app/main.py"))


def test_what_was_installed_beside_the_main_script_is_told_by_its_list(tmp_path: Path) -> None:
    make_files(
        tmp_path, "main.py", "orders.py", "shop.egg-info/PKG-INFO", "six-1.16.dist-info/RECORD", "six.py",
        "attr/a.py", "listless-1.dist-info/METADATA", "whole-1.dist-info/RECORD",
    )  # fmt: skip
    (tmp_path / "six-1.16.dist-info/RECORD").write_text('six.py,sha256=x,1\n"attr/a.py",,\n')
    (tmp_path / "whole-1.dist-info/RECORD").write_text("main.py,,\norders.py,,\n")
    main = str(tmp_path / "main.py")
    assert not is_own("six", str(tmp_path / "six.py"), main)
    assert not is_own("attr.a", str(tmp_path / "attr/a.py"), main)
    assert is_own("orders", str(tmp_path / "orders.py"), main)


def test_directories_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "main.py", "model/a.py", "model/b.py")
    looked: list[str] = []
    names_in = program._names_in

    def look(place: str) -> list[str]:
        looked.append(place)
        return names_in(place)

    monkeypatch.setattr(program, "_names_in", look)
    for name in ("a", "b", "a"):
        assert is_own(name, str(tmp_path / f"model/{name}.py"), str(tmp_path / "main.py"))
    assert looked == [str(tmp_path), str(tmp_path / "model")]


def test_a_directory_is_not_one_whose_name_begins_alike() -> None:
    assert lies_under("/a/b/c", "/a/b") and lies_under("/a", "/")
    assert not lies_under("/a/bc", "/a/b") and not lies_under("/a/b", "/a/b")


# Names in the setting


def test_listed_modules_are_those_that_are_imported_and_no_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("byvalue_made")
    monkeypatch.setitem(sys.modules, "byvalue_made", made)
    assert is_listed("byvalue_made", ("byvalue_made",))
    assert is_listed(__name__, ("other", __name__))
    assert not is_listed(__name__, ()) and not is_listed(__name__, ("other",))
    assert not is_listed("nowhere", ("nowhere",))
    # Settings refuse these; who gets round that has nothing of it.
    for library in ("json", "json.decoder", "os", "sys", "pytest", "gpyro.errors", "tempfile", "_pytest.config"):
        assert library.partition(".")[0] in sys.modules
        assert not is_listed(library, (library, PROGRAM))


def test_a_module_that_is_none_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "byvalue_odd", object())
    assert not is_listed("byvalue_odd", ("byvalue_odd",))


def test_a_program_has_its_modules_once_they_are_imported(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/parts.py").write_text("class Part: pass\n")
    (tmp_path / "main.py").write_text(
        "import importlib, json, sys\n"
        "from gpyro._serializers.program import is_listed\n"
        "names = ['__main__', 'model.parts', 'json', 'ormsgpack', 'gpyro.errors', 'gpyro._serializers.program']\n"
        "before = [name for name in names if is_listed(name, ('<program>',))]\n"
        "import model.parts, ormsgpack, gpyro.errors\n"
        "after = [name for name in names if is_listed(name, ('<program>',))]\n"
        "print(json.dumps([before, after]))\n"
    )
    answer = subprocess.run(
        [sys.executable, str(tmp_path / "main.py")], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd="/",
    )  # fmt: skip
    assert json.loads(answer.stdout) == [["__main__"], ["__main__", "model.parts"]]


@pytest.mark.parametrize(
    "value",
    [
        "shop", ["os"], ["json.decoder"], ["gpyro"], ["gpyro.errors"], ["gpyro_cli.main"], [""], ["a b"],
        ["shop."], ["*"], ["shop.*"], [5], 5, None, [None], ["<main>"],
    ],
)  # fmt: skip
def test_the_setting_takes_names_of_own_modules_only(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"by_value is .* but it must be a list of full names"):
        Settings(by_value=value)


def test_the_setting_is_empty_unless_it_is_given_in_code_file_or_environment(tmp_path: Path) -> None:
    assert Settings().by_value == ()
    assert Settings(by_value=["shop", "shop", PROGRAM]).by_value == ("shop", PROGRAM)
    environ = {"GPYRO_BY_VALUE": " shop.model , __main__,", "PYRO_BY_VALUE": "somebody_elses"}
    given = Settings.reading(lambda: read_surroundings(environ, str(tmp_path)))
    assert given.by_value == ("shop.model", "__main__")
    wrong = Settings.reading(lambda: read_surroundings({"GPYRO_BY_VALUE": "shop,os"}, str(tmp_path)))
    with pytest.raises(ConfigurationError, match="GPYRO_BY_VALUE is 'shop,os', but by_value must be a list"):
        _ = wrong.by_value
