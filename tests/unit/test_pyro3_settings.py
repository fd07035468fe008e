"""`Pyro.config`: all of Pyro's 45 items in its spelling, in front of gpyro's settings."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro._pyro3.settings import HARMLESS, NAMES, UNUSED, Config
from gpyro._pyro3.settings import config as process_config
from gpyro.configuration import ITEMS, NOT_USED, ConfigurationError, Settings, read_surroundings
from tests.support.pyro3_api import symbols

PYROS = [symbol.name.rpartition(".")[2] for symbol in symbols() if symbol.name.startswith("Pyro.config.")]

#: A value of each item's kind that is not the default.
OTHER_VALUES: dict[type, Any] = {bool: 1, int: 5, float: 0.5, str: ":other", type(None): "other"}


def other_value(name: str) -> Any:
    default = ITEMS[NAMES[name]].default
    return int(not default) if isinstance(default, bool) else 3 - default if name.endswith("TRACELEVEL") else (
        OTHER_VALUES[type(default)]
    )


def test_all_items_of_pyro_are_there() -> None:
    assert len(PYROS) == 45
    assert [name for name in PYROS if name not in {*NAMES, *UNUSED, "PYRO_CONFIG_FILE"}] == []
    assert set(UNUSED) == {f"PYRO_{name.upper()}" for name in NOT_USED}
    assert set(PYROS) <= set(dir(process_config))
    assert all(hasattr(Config(), name) for name in PYROS)


@pytest.mark.parametrize("name", sorted(set(PYROS) & set(NAMES)))
def test_an_item_is_that_of_gpyro_to_read_and_to_set(name: str) -> None:
    settings = Settings()
    config = Config(settings)
    item = NAMES[name]
    value = other_value(name)
    setattr(config, name, value)
    assert getattr(settings, item) == getattr(config, name)
    assert settings.origin(item) == "code"
    assert not isinstance(getattr(config, name), bool), "Pyro's flags are numbers"
    if not getattr(config, name) == value:
        assert str(getattr(config, name)).endswith(f"/{value}"), "only paths are filled in"


def test_pyro_config_is_in_front_of_the_processs_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpyro.config, "bc_retries", 7)
    assert process_config.PYRO_BC_RETRIES == 7
    process_config.PYRO_BC_RETRIES = 3
    assert gpyro.config.bc_retries == 3


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("PYRO_TRACELEVEL", True, 1),
        ("PYRO_DNS_URI", True, 1),
        ("PYRO_NS_HOSTNAME", "", None),
        ("PYRO_PUBLISHHOST", "", None),
        ("PYRO_HOST", None, ""),
        ("PYRO_BC_TIMEOUT", 2, 2.0),
    ],
)
def test_what_old_programs_put_into_an_item_is_understood(name: str, given: object, kept: object) -> None:
    config = Config()
    setattr(config, name, given)
    value = getattr(config, name)
    assert (value, type(value)) == (kept, type(kept))


@pytest.mark.parametrize("name", sorted(set(UNUSED) - set(HARMLESS)))
def test_an_item_without_meaning_warns_once_and_says_why(name: str) -> None:
    config = Config()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        setattr(config, name, UNUSED[name])
    with pytest.warns(RuntimeWarning) as caught:
        setattr(config, name, "other")
        setattr(config, name, "another")
    assert [str(warning.message) for warning in caught] == [
        f"{name}='other' has no effect in gpyro: {NOT_USED[name[5:].lower()]}"
    ]
    assert caught[0].filename == __file__
    assert getattr(config, name) == "another"


def test_items_that_only_say_how_are_accepted_in_silence() -> None:
    config = Config()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in HARMLESS:
            setattr(config, name, 1)
            assert getattr(config, name) == 1
        config.my_own = "kept"
    assert config.my_own == "kept"


def test_a_name_that_is_no_item_is_kept_with_a_warning_and_unknown_ones_are_told() -> None:
    config = Config()
    with pytest.warns(RuntimeWarning, match=r"PYRO_MULTITHREADING is no setting; dir\(Pyro.config\) lists them"):
        config.PYRO_MULTITHREADING = 1
    assert config.PYRO_MULTITHREADING == 1
    with pytest.raises(AttributeError, match=r"Pyro\.config has no item 'PYRO_PROT'"):
        config.PYRO_PROT  # noqa: B018
    with pytest.raises(AttributeError, match="'port'"):
        config.port  # noqa: B018
    with pytest.raises(ConfigurationError, match="port is 0, but it must be a whole number from 1 to 65535"):
        config.PYRO_PORT = 0


def test_setup_takes_a_file_and_the_environment_which_is_stronger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my.conf"
    file.write_text("PYRO_PORT=4000\nPYRO_PORT_RANGE=5\n")
    monkeypatch.setenv("PYRO_PORT_RANGE", "6")
    config = Config()
    config.setup(str(file))
    assert (config.PYRO_PORT, config.PYRO_PORT_RANGE, config.PYRO_CONFIG_FILE) == (4000, 6, str(file))
    with pytest.raises(ConfigurationError, match=r"configuration file '.*none.conf' cannot be read: No such file"):
        config.setup(str(tmp_path / "none.conf"))
    assert "port=4000" in repr(config)


# -- Pyro.conf -------------------------------------------------------------------------------------------------


def settings_in(directory: Path, **environ: str) -> Settings:
    return Settings.reading(lambda: read_surroundings(environ, str(directory)))


def test_pyro_conf_is_weaker_than_environment_and_code_and_is_not_read_beside_another_file(tmp_path: Path) -> None:
    (tmp_path / "Pyro.conf").write_text("PYRO_PORT=4000\nPYRO_NS_PORT=4001\nPYRO_NS2_PORT=4002\n")
    settings = settings_in(tmp_path, PYRO_NS_PORT="5001")
    settings.ns2_port = 5002
    before = settings.snapshot()
    settings.look_for("Pyro.conf")
    assert (settings.port, settings.ns_port, settings.ns2_port) == (4000, 5001, 5002)
    assert settings.origin("port") == f"file {tmp_path}/Pyro.conf"
    assert settings.file_read() == settings.snapshot().file_read() == f"{tmp_path}/Pyro.conf"
    assert (before.port, settings.snapshot().port) == (7766, 4000)
    (tmp_path / "gpyro.conf").write_text("PORT=6000\n")
    settings = settings_in(tmp_path)
    settings.look_for("Pyro.conf")
    assert (settings.port, settings.ns_port, settings.file_read()) == (6000, 9090, f"{tmp_path}/gpyro.conf")


def test_pyro_conf_that_others_may_write_is_passed_over_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "Pyro.conf"
    file.write_text("PYRO_PORT=4000\n")
    file.chmod(0o666)
    settings = settings_in(tmp_path)
    settings.look_for("Pyro.conf")
    assert (settings.port, settings.file_read()) == (7766, "")
    assert settings.notes() == [
        f"{file} is not read: everybody may write it; name it in GPYRO_CONFIG_FILE if you trust it"
    ]
