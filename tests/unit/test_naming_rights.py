"""Rights of a name server: which group decides, what is granted, how they are written, and what callers meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gpyro_cli.main import cli
from hypothesis import given
from hypothesis import strategies as st

import gpyro
from gpyro import naming
from gpyro._naming.rights import RIGHTS, Rights, is_owner, make_rights, parse_rights
from gpyro.configuration import Settings
from gpyro.context import Call, enter_scope
from gpyro.errors import AccessDeniedError, ConfigurationError, NamingError
from tests.support.settings import use_in_naming

URI = gpyro.PyroURI("PYRO://localhost:7766/abc")
FILE = """
# The plant's names.
:Plant         operator,press-4   lookup,register   # both
:Plant         boss               admin
:Plant.safety  safety             admin
:              *                  lookup
"""


# -- which group decides -------------------------------------------------------------------------------------


def test_the_nearest_group_with_rules_decides() -> None:
    rights = parse_rights(FILE)
    assert rights.nearest(":Plant.hall.press") == ":Plant"
    assert rights.nearest(":Plant") == ":Plant"
    assert rights.nearest(":Plant.safety.door") == ":Plant.safety"
    assert rights.nearest(":Plants.x") == rights.nearest(":") == ":"
    assert Rights({":Plant": {}}).nearest(":Other") is None


def test_what_the_nearest_group_does_not_grant_is_denied_whatever_is_granted_further_up() -> None:
    rights = parse_rights(FILE)
    assert rights.may({"*"}, "lookup", ":Other.x")
    assert not rights.may({"*"}, "lookup", ":Plant.press")
    assert not rights.may({"*", "boss"}, "lookup", ":Plant.safety.door")
    assert not Rights({}).may({"*"}, "lookup", ":")
    assert not Rights({":Plant": {"*": {"admin"}}}).may({"*"}, "lookup", ":Other")


def test_admin_includes_the_other_rights_and_none_of_them_another() -> None:
    rights = parse_rights(FILE)
    assert all(rights.may({"boss"}, right, ":Plant.x") for right in RIGHTS)
    assert [right for right in RIGHTS if rights.may({"operator"}, right, ":Plant.x")] == ["lookup", "register"]


def test_rights_of_identity_and_roles_add_up() -> None:
    rights = Rights({":": {"a": {"lookup"}, "b": ["remove"]}})
    assert [right for right in RIGHTS if rights.may({"a", "b", "*"}, right, ":x")] == ["lookup", "remove"]


def test_groups_are_hidden_from_those_who_may_not_look_them_up() -> None:
    rights = parse_rights(FILE)
    assert rights.hidden_in(":", {"*"}) == {"Plant"}
    assert rights.hidden_in(":", {"*", "operator"}) == frozenset()
    assert rights.hidden_in(":Plant", {"*", "operator"}) == {"safety"}
    assert rights.visible_groups({"*", "operator"}) == {":", ":Plant"}


def test_the_groups_below_a_group_are_those_within_it() -> None:
    rights = parse_rights(FILE + ":Plant2 a admin")
    assert rights.below(":Plant") == [":Plant.safety"]
    assert rights.below(":") == [":Plant", ":Plant.safety", ":Plant2"]
    assert rights.below(":Plant.safety") == []


@given(
    st.dictionaries(
        st.sampled_from([":", ":a", ":a.b", ":c"]),
        st.dictionaries(st.sampled_from(["*", "x", "y"]), st.frozensets(st.sampled_from(RIGHTS))),
    ),
    st.frozensets(st.sampled_from(["*", "x", "y"])),
    st.sampled_from(RIGHTS),
    st.sampled_from([[":", ":a", ":a.b", ":a.b.z"], [":", ":c"], [":", ":d", ":d.e"]]),
)
def test_what_no_rule_of_the_nearest_group_grants_is_denied(
    groups: dict[str, dict[str, frozenset[str]]], principals: frozenset[str], right: str, way: list[str]
) -> None:
    deciding = [group for group in way if group in groups]
    grants = groups[deciding[-1]] if deciding else {}
    granted: set[str] = set().union(*(grants.get(who, frozenset()) for who in principals))
    assert Rights(groups).may(principals, right, way[-1]) == bool(granted & {right, "admin"})


def test_only_an_identity_that_can_be_no_address_owns() -> None:
    assert is_owner("press-4", "press-4")
    assert not is_owner("press-4", "press-5")
    assert not is_owner(None, None)
    assert not is_owner("127.0.0.1:4711", "127.0.0.1:4711")
    assert not is_owner("unix socket", "unix socket")
    assert is_owner("passphrase:1", "passphrase:1")
    assert is_owner("certificate:press-4", "certificate:press-4")


def test_rights_show_where_they_hold() -> None:
    assert repr(parse_rights(FILE)) == "<Rights in :, :Plant, :Plant.safety>"
    assert repr(Rights({})) == "<Rights in no group>"


def test_the_error_names_right_name_caller_and_where_the_rules_are() -> None:
    rights = parse_rights(FILE)
    text = str(rights.denial("bob", {"*", "bob", "reader"}, "register", ":Plant.x"))
    assert text == (
        "access denied: 'bob' (role reader) lacks the right 'register' to ':Plant.x'; the rights of ':Plant' "
        "decide there and do not include it; "
        "whoever runs the name server grants it (`gpyro ns --rights FILE`, or rights=)"
    )
    assert "no rights are given there" in str(Rights({}).denial(None, {"*"}, "lookup", ":x"))


# -- how they are written ------------------------------------------------------------------------------------


def test_lines_of_one_group_add_up_and_comments_are_passed_over() -> None:
    rights = parse_rights(":A x lookup\n# :A x admin\n:A x,y remove # , admin\n:A#b x admin\n")
    assert [right for right in RIGHTS if rights.may({"x"}, right, ":A.n")] == ["lookup", "remove"]
    assert [right for right in RIGHTS if rights.may({"y"}, right, ":A.n")] == ["remove"]
    assert rights.may({"x"}, "admin", ":A#b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":A x lookup\n:A x", r"f, line 2: 2 fields in ':A x', but three are needed"),
        (":A x, y lookup", "f, line 1: 4 fields"),
        ("\n\nA x lookup", "f, line 3: rights for 'A', which cannot be a group: .*does not begin with a colon"),
        (":A..b x lookup", "line 1: .*empty part at position 3"),
        (":A x look", "'look', which is no right; there are lookup, register, remove, admin"),
        (":A x lookup,", "'', which is no right"),
        (":A x,,y lookup", "for '', which is no identity or role"),
        ("# nothing\n", "f grants nothing, so everybody would be denied everything; a line looks like"),
    ],
)
def test_a_wrong_line_is_told_with_file_and_number(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_rights(text, "f")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([":A"], "of type list; rights look like"),
        ({"A": {}}, "rights for 'A'"),
        ({5: {}}, "rights for 5"),
        ({":A": {"x"}}, "of type set; rights look like"),
        ({":A": {"x": "lookup"}}, r"the text 'lookup' in place of a set; write \{'lookup'\}"),
        ({":A": {"x": None}}, "None, not a set"),
        ({":A": {"x": [1]}}, "1, which is no right"),
        ({":A": {"x": [[]]}}, r"\[\], which is no right"),
        ({":A": {7: {"lookup"}}}, "for 7, which is no identity"),
        ({":A": {" x": {"lookup"}}}, "for ' x', which is no identity"),
    ],
)
def test_what_can_be_no_rights_is_refused(groups: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_rights(groups)


# -- in the name server --------------------------------------------------------------------------------------


class Caller:
    """What the name server asks of a connection."""

    def __init__(self, identity: str | None, *roles: str, local: bool = True) -> None:
        self.addr = ("127.0.0.1", 4711)
        self.identity = identity
        self.principals = frozenset({"*", *roles} | ({identity} if identity else set()))
        self._local = local

    def is_local(self) -> bool:
        return self._local


def as_caller(caller: Caller, method: Any, *args: Any) -> Any:
    def run() -> Any:
        enter_scope(Call(caller, 1, method.__name__, False, None))
        return method(*args)

    return copy_context().run(run)


class Names:
    """A name server and who calls it."""

    def __init__(self, ns: naming.NameServer) -> None:
        self.ns = ns
        self.anybody, self.boss = Caller(None), Caller("ada", "boss")
        self.operator, self.press = Caller("ann", "operator"), Caller("press-4")

    def may(self, caller: Caller, name: str, *args: Any) -> Any:
        return as_caller(caller, getattr(self.ns, name), *args)

    def may_not(self, caller: Caller, name: str, *args: Any, match: str = "access denied") -> None:
        with pytest.raises(AccessDeniedError, match=match):
            self.may(caller, name, *args)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    use_in_naming(Settings(), monkeypatch)
    ns = naming.NameServer(rights=parse_rights(FILE))
    for group in (":Plant", ":Plant.safety", ":Plant.hall"):
        ns.createGroup(group)
    for name in (":Plant.press", ":Plant.safety.door", ":Default.free"):
        ns.register(name, URI)
    return Names(ns)


def test_the_process_itself_is_not_restricted(names: Names) -> None:
    ns = names.ns
    ns.setMeta(":Plant.press", 1)
    ns.unregister(":Plant.press")
    ns.deleteGroup(":Plant")
    assert [name for name, _ in ns.flatlist()] == [":Default.free"]


def test_names_are_looked_up_by_those_who_may(names: Names) -> None:
    for name in ("resolve", "getMeta", "get_system_meta"):
        names.may(names.operator, name, ":Plant.press")
        names.may(names.anybody, name, ":Default.free")
        names.may_not(names.anybody, name, ":Plant.press", match="'lookup'.*the rights of ':Plant'")
    names.may_not(names.boss, "list", ":Plant.safety")
    assert names.may(names.anybody, "resolve", "free") == URI


def test_whether_there_is_a_name_is_not_told_to_who_may_not_look(names: Names) -> None:
    for name in ("resolve", "unregister", "getMeta", "get_system_meta", "list"):
        names.may_not(names.anybody, name, ":Plant.nothing")
    names.may_not(names.anybody, "setMeta", ":Plant.nothing", 1)
    with pytest.raises(NamingError, match="not found"):
        names.may(names.operator, "resolve", ":Plant.nothing")


def test_listings_show_what_may_be_looked_up(names: Names) -> None:
    assert names.may(names.anybody, "list", ":") == [("Default", 0), ("Pyro", 0)]
    assert names.may(names.operator, "list", ":Plant") == [("hall", 0), ("press", 1)]
    assert names.ns.list(":Plant") == [("hall", 0), ("press", 1), ("safety", 0)]
    assert [name for name, _ in names.may(names.anybody, "flatlist")] == [":Default.free"]
    assert [name for name, _ in names.may(names.operator, "flatlist")] == [":Default.free", ":Plant.press"]


def test_pages_of_a_listing_count_what_is_shown(names: Names) -> None:
    assert names.may(names.anybody, "list", ":", 1, 1) == [("Pyro", 0)]
    assert names.may(names.anybody, "list", ":", 1) == [("Pyro", 0)]
    assert names.may(names.anybody, "list", ":", 0, 0) == []
    with pytest.raises(ValueError, match="negative"):
        names.may(names.anybody, "list", ":", -1)


def test_names_are_registered_by_those_who_may_and_owned_by_identities(names: Names) -> None:
    names.may(names.press, "register", ":Plant.mine", URI)
    names.may(names.operator, "createGroup", ":Plant.line")
    names.may_not(names.anybody, "register", ":Default.x", URI, match="without an identity lacks.*'register'")
    names.may_not(names.operator, "createGroup", ":Plant.safety.sub")
    names.may_not(names.operator, "register", ":Plant.safety", URI)
    assert names.ns._getSystemMeta(":Plant.mine").owner == "press-4"
    assert names.ns._getSystemMeta(":Plant.line").owner == "ann"
    with pytest.raises(NamingError, match="name already exists"):
        names.may(names.press, "register", ":Plant.mine", URI)


def test_an_owner_removes_its_registration_and_sets_its_meta(names: Names) -> None:
    names.may(names.press, "register", ":Plant.mine", URI)
    names.may(names.press, "setMeta", ":Plant.mine", {"hall": 4})
    names.may_not(names.operator, "setMeta", ":Plant.mine", 1, match="'admin'")
    names.may_not(names.operator, "unregister", ":Plant.mine", match="'remove'")
    names.may_not(names.press, "unregister", ":Plant.press")
    names.may(names.press, "unregister", ":Plant.mine")
    names.may(names.press, "register", ":Plant.mine", URI)
    names.may(names.boss, "unregister", ":Plant.mine")


def test_an_address_that_is_noted_as_owner_gives_nobody_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    use_in_naming(Settings(), monkeypatch)
    names = Names(naming.NameServer(rights={":": {"*": {"register"}}}))
    names.may(names.anybody, "register", ":Default.x", URI)
    assert names.ns._getSystemMeta(":Default.x").owner == "127.0.0.1:4711"
    names.may_not(names.anybody, "unregister", ":Default.x")
    names.may_not(Caller("127.0.0.1:4711"), "unregister", ":Default.x")


def test_groups_are_removed_by_who_has_admin_there_and_in_what_is_in_them(names: Names) -> None:
    names.may_not(names.operator, "deleteGroup", ":Plant.hall", match="'admin' to ':Plant.hall'")
    names.may(names.boss, "deleteGroup", ":Plant.hall")
    names.may_not(names.boss, "deleteGroup", ":Plant", match="'admin' to ':Plant.safety'")
    names.may(Caller("eve", "boss", "safety"), "deleteGroup", ":Plant")


def test_ping_and_full_name_are_for_everybody(names: Names) -> None:
    stranger = Caller(None, local=False)
    assert names.may(stranger, "ping") is None
    assert names.may(stranger, "fullName", "x") == ":Default.x"


def test_shutdown_needs_admin_of_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    use_in_naming(Settings(), monkeypatch)
    ended: list[int] = []
    rights = {":": {"root": {"admin"}}, ":Plant": {"boss": {"admin"}}}
    ns = naming.NameServer(rights=rights, on_shutdown=lambda: ended.append(1))
    names = Names(ns)
    names.may_not(names.boss, "shutdown", match="'admin' to ':'")
    names.may_not(names.anybody, "shutdown")
    assert ended == []
    names.may(Caller("root"), "shutdown")
    names.may(Caller("root", local=False), "shutdown")
    assert ended == [1, 1]
    open_to_all = Names(naming.NameServer(rights={":": {"*": {"admin"}}}, on_shutdown=lambda: ended.append(1)))
    with pytest.raises(NamingError, match="only programs on the name server's own machine"):
        open_to_all.may(Caller(None, local=False), "shutdown")
    with pytest.raises(NamingError, match="started with -k"):
        Names(naming.NameServer(keep_running=True, rights=rights)).may(Caller("root"), "shutdown")


def test_without_rights_everybody_may_do_what_anybody_could(monkeypatch: pytest.MonkeyPatch) -> None:
    use_in_naming(Settings(), monkeypatch)
    names = Names(naming.NameServer())
    names.may(names.press, "register", ":Default.x", URI)
    names.may(names.anybody, "setMeta", ":Default.x", 1)
    names.may(names.anybody, "unregister", ":Default.x")
    assert len(names.may(names.anybody, "list", ":")) == 2


def test_the_name_server_shows_that_it_has_rights(names: Names) -> None:
    assert repr(names.ns).endswith(", <Rights in :, :Plant, :Plant.safety>>")


# -- starter and command -------------------------------------------------------------------------------------


@contextmanager
def own_settings(monkeypatch: pytest.MonkeyPatch, path: Path) -> Iterator[None]:
    settings = Settings(storage=str(path))
    use_in_naming(settings, monkeypatch)
    yield


def test_a_starter_hands_rights_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with own_settings(monkeypatch, tmp_path):
        one = naming.NameServerStarter()
        one.initialize("127.0.0.1", 0, dontlookupother=True, rights={":": {"*": {"lookup"}}})
        try:
            names = Names(one.ns)  # type: ignore[arg-type]
            assert names.may(names.anybody, "resolve", ":Pyro.NameServer") == one.uri
            names.may_not(names.anybody, "register", ":Default.x", URI)
        finally:
            one.shutdown()


def test_a_starter_refuses_wrong_rights_before_it_opens_anything() -> None:
    one = naming.NameServerStarter()
    with pytest.raises(ConfigurationError, match="which is no right"):
        one.initialize("127.0.0.1", 0, rights={":": {"*": {"everything"}}})
    assert one.daemon is None


def run_command(monkeypatch: pytest.MonkeyPatch, path: Path) -> tuple[Any, list[Any]]:
    """Run `gpyro ns --rights` with everything that follows left out."""
    from gevent import monkey

    started: list[Any] = []
    monkeypatch.setattr(monkey, "patch_all", lambda: None)
    monkeypatch.setattr(
        naming.NameServerStarter, "start", lambda self, *args, rights, **options: started.append(rights)
    )
    return CliRunner().invoke(cli, ["ns", "--rights", str(path)]), started


def test_the_command_reads_a_file_of_rights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rights").write_text(FILE)
    result, started = run_command(monkeypatch, tmp_path / "rights")
    assert (result.exit_code, repr(started)) == (0, "[<Rights in :, :Plant, :Plant.safety>]")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b":Plant operator look", "rights, line 1: rights of ':Plant' give 'operator' 'look', which is no right"),
        (b"\xff\xfe", "is no text: byte 0 is not UTF-8"),
        (b"", "grants nothing"),
    ],
)
def test_the_command_tells_a_bad_file_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "rights").write_bytes(content)
    result, started = run_command(monkeypatch, tmp_path / "rights")
    assert (result.exit_code, started, result.stderr.count("\n")) == (1, [], 1)
    assert message in result.stderr


def test_the_command_wants_a_file_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result, started = run_command(monkeypatch, tmp_path / "missing")
    assert (result.exit_code, started) == (2, [])


def test_rights_tell_whether_they_name_anybody_but_everybody() -> None:
    assert not Rights({":": {"*": {"lookup"}}}).names_somebody()
    assert Rights({":": {"*": {"lookup"}}, ":Plant": {"press-4": {"register"}}}).names_somebody()
