"""What every storage of names does; a storage's own test file runs these cases.

    class TestMyStorage(StorageConformance):
        def make_storage(self, max_names: int | None = None) -> NameStorage: ...

    TestMyStorageModel = state_machine(make_storage).TestCase
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpyro.errors import NamingError
from gpyro.namerecords import Change, Member, SystemMeta
from gpyro.names import GROUP, OBJECT, split_name
from gpyro.storage.base import NameStorage

URI = "PYRO://127.0.0.1:7766/0123456789abcdef"
OTHER = "PYRO://127.0.0.1:7767/fedcba9876543210"


class StorageConformance(ABC):
    """The cases; each gets a fresh storage with the groups :Default, :Pyro and :Pyro.deep."""

    @abstractmethod
    def make_storage(self, max_names: int | None = None) -> NameStorage:
        """Return an empty storage; `max_names` is its bound, where the case needs a small one."""

    @pytest.fixture
    def storage(self) -> Iterator[NameStorage]:
        with self.make_storage() as storage:
            for group in (":Default", ":Pyro", ":Pyro.deep"):
                storage.create_group(group, created=100.0)
            yield storage

    # -- objects

    def test_registered_address_is_resolved(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0)
        storage.register(":rootobj", OTHER, created=1.0)
        storage.register(":Pyro.deep.y", OTHER, created=1.0)
        assert storage.resolve(":Default.x") == URI
        assert storage.resolve(":rootobj") == OTHER
        assert storage.resolve(":Pyro.deep.y") == OTHER

    def test_unregistered_name_is_free_again(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0)
        storage.unregister(":Default.x")
        assert storage.kind(":Default.x") is None
        storage.register(":Default.x", OTHER, created=2.0)
        assert storage.resolve(":Default.x") == OTHER

    def test_names_of_any_script_case_and_sign_are_kept_apart(self, storage: NameStorage) -> None:
        parts = ("a", "A", "é", "e\u0301", "数", "%", "_", "*", "'", '"', "a-b")
        names = [f":Default.{part}" for part in parts]
        for number, name in enumerate(names):
            storage.register(name, f"{URI}{number}", created=1.0)
        assert [storage.resolve(name) for name in names] == [f"{URI}{n}" for n in range(len(names))]
        assert storage.list(":Default") == sorted((part, OBJECT) for part in parts)
        storage.unregister(":Default.%")
        storage.unregister(":Default._")
        assert len(storage.list(":Default")) == len(names) - 2

    def test_replace_takes_the_place_of_an_object_and_keeps_its_user_meta(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0, owner="first")
        storage.set_meta(":Default.x", b"note")
        storage.register(":Default.x", OTHER, created=2.0, owner="second", replace=True)
        storage.register(":Default.new", OTHER, created=3.0, replace=True)
        assert storage.resolve(":Default.x") == OTHER
        assert storage.get_meta(":Default.x") == b"note"
        assert storage.get_system_meta(":Default.x") == SystemMeta(OBJECT, 2.0, "second")
        assert storage.list(":Default") == [("new", OBJECT), ("x", OBJECT)]

    # -- groups

    def test_created_group_is_empty_and_stands_in_its_parent(self, storage: NameStorage) -> None:
        storage.create_group(":g1", created=1.0)
        storage.create_group(":g1.sub", created=1.0)
        assert storage.list(":g1") == [("sub", GROUP)]
        assert storage.list(":g1.sub") == []

    def test_deleted_group_takes_along_what_is_in_it_and_nothing_else(self, storage: NameStorage) -> None:
        for name in (":Pyro.deep.b", ":Pyro.deep.a", ":Pyro.c", ":Pyrometer", ":Default.x"):
            storage.register(name, URI, created=1.0)
        storage.create_group(":Pyro-2", created=1.0)
        assert storage.delete_group(":Pyro") == [":Pyro.c", ":Pyro.deep.a", ":Pyro.deep.b"]
        assert storage.flatlist() == [(":Default.x", URI), (":Pyrometer", URI)]
        assert storage.list(":") == [("Default", GROUP), ("Pyro-2", GROUP), ("Pyrometer", OBJECT)]
        assert storage.kind(":Pyro.deep") is None
        storage.create_group(":Pyro", created=2.0)
        assert storage.list(":Pyro") == []

    def test_delete_group_treats_wildcards_as_plain_letters(self, storage: NameStorage) -> None:
        for name in (":%", ":_", ":*"):
            storage.create_group(name, created=1.0)
        storage.register(":Default.x", URI, created=1.0)
        for name in (":%", ":_", ":*"):
            assert storage.delete_group(name) == []
        assert storage.resolve(":Default.x") == URI

    # -- listings

    def test_listing_of_the_root_has_groups_and_objects_sorted(self, storage: NameStorage) -> None:
        storage.register(":Middle", URI, created=1.0)
        assert storage.list(":") == [("Default", GROUP), ("Middle", OBJECT), ("Pyro", GROUP)]

    def test_listing_is_sorted_by_code_points_whatever_the_order_of_registration(
        self, storage: NameStorage
    ) -> None:
        for part in ("b", "a", "B", "é", "z", "a-", "\U0001f600", "\uffee"):
            storage.register(f":Default.{part}", URI, created=1.0)
        parts = [part for part, _ in storage.list(":Default")]
        assert parts == ["B", "a", "a-", "b", "z", "é", "\uffee", "\U0001f600"]

    def test_pages_fit_together(self, storage: NameStorage) -> None:
        for number in range(25):
            storage.register(f":Default.{number:02}", URI, created=1.0)
        whole = storage.list(":Default")
        assert [row for offset in range(0, 30, 7) for row in storage.list(":Default", offset, 7)] == whole
        assert storage.list(":Default", 20) == whole[20:]
        assert storage.list(":Default", 3, 0) == []
        assert storage.list(":Default", 25, 5) == []
        assert storage.list(":Default", limit=2) == whole[:2]

    def test_pages_see_changes(self, storage: NameStorage) -> None:
        for part in ("a", "c"):
            storage.register(f":Default.{part}", URI, created=1.0)
        assert storage.list(":Default", 0, 1) == [("a", OBJECT)]
        storage.register(":Default.b", URI, created=1.0)
        assert storage.list(":Default", 1, 1) == [("b", OBJECT)]
        storage.unregister(":Default.a")
        assert storage.list(":Default", 0, 2) == [("b", OBJECT), ("c", OBJECT)]

    @pytest.mark.parametrize(("offset", "limit"), [(-1, None), (0, -1)])
    def test_page_that_cannot_be_raises_value_error(
        self, storage: NameStorage, offset: int, limit: int | None
    ) -> None:
        with pytest.raises(ValueError, match="neither may be negative"):
            storage.list(":", offset, limit)

    def test_flatlist_has_all_objects_sorted_by_full_name(self, storage: NameStorage) -> None:
        for name in (":rootobj", ":Default.b", ":Default.a", ":Pyro.deep.x", ":Default-x"):
            storage.register(name, f"{URI}{name[1:]}", created=1.0)
        expected = [":Default-x", ":Default.a", ":Default.b", ":Pyro.deep.x", ":rootobj"]
        assert storage.flatlist() == [(name, f"{URI}{name[1:]}") for name in expected]

    def test_kind_tells_groups_from_objects(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0)
        kinds = [storage.kind(name) for name in (":", ":Default", ":Default.x", ":nope", ":Default.x.y")]
        assert kinds == [GROUP, GROUP, OBJECT, None, None]

    def test_length_counts_objects_and_groups(self, storage: NameStorage) -> None:
        assert len(storage) == 3
        storage.register(":Default.x", URI, created=1.0)
        assert len(storage) == 4
        storage.delete_group(":Pyro")
        assert len(storage) == 2
        assert storage

    def test_scan_goes_on_behind_any_name_and_meets_groups_first(self, storage: NameStorage) -> None:
        for name in (":Pyro.deep.b", ":Pyro.a", ":rootobj"):
            storage.register(name, URI, created=1.0)
        order = [":Default", ":Pyro", ":Pyro.a", ":Pyro.deep", ":Pyro.deep.b", ":rootobj"]
        assert [record.name for record in storage.scan(":", None, 100)] == order
        assert [record.name for record in storage.scan(":", None, 2)] == order[:2]
        for index, name in enumerate(order):
            assert [record.name for record in storage.scan(":", name, 2)] == order[index + 1 : index + 3]
        assert [record.name for record in storage.scan(":Pyro", ":Pyro.b", 9)] == order[3:5]
        assert storage.scan(":", ":zzz", 9) == []
        with pytest.raises(NamingError, match=r"^group not found: ':nope'"):
            storage.scan(":nope", None, 1)

    # -- several addresses, and leases

    def test_several_addresses_of_one_name_stay_in_order(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0, owner="a")
        storage.register(":Default.x", OTHER, created=2.0, owner="b", member=True)
        assert storage.members(":Default.x") == (Member(URI, 1.0, "a"), Member(OTHER, 2.0, "b"))
        assert storage.resolve(":Default.x") == URI
        storage.unregister(":Default.x", URI)
        assert storage.members(":Default.x") == (Member(OTHER, 2.0, "b"),)
        with pytest.raises(NamingError, match=r"^name not found: ':Default\.x' does not stand for"):
            storage.unregister(":Default.x", URI)
        storage.unregister(":Default.x", OTHER)
        assert storage.kind(":Default.x") is None

    def test_addresses_are_replaced_only_where_they_are_those_that_were_seen(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0)
        storage.set_meta(":Default.x", b"kept")
        seen = storage.members(":Default.x")
        storage.register(":Default.x", OTHER, created=2.0, instead_of=seen)
        assert storage.members(":Default.x") == (Member(OTHER, 2.0),)
        assert storage.get_meta(":Default.x") == b"kept"
        with pytest.raises(NamingError, match="name already exists"):
            storage.register(":Default.x", URI, created=3.0, instead_of=seen)
        storage.unregister(":Default.x")
        storage.register(":Default.x", URI, created=4.0, instead_of=seen)
        assert storage.members(":Default.x") == (Member(URI, 4.0),)

    def test_lease_is_kept_until_it_is_closed_and_takes_its_addresses_along(self, storage: NameStorage) -> None:
        storage.open_lease("one", seconds=30.0, created=1.0, owner="a")
        storage.open_lease("two", seconds=5.0, created=2.0)
        storage.register(":Default.x", URI, created=1.0, lease="one")
        storage.register(":Default.y", URI, created=1.0)
        storage.register(":Default.y", OTHER, created=1.0, lease="one", member=True)
        storage.register(":Default.z", URI, created=1.0, lease="two")
        found = sorted((record.name, record.seconds, record.created, record.owner) for record in storage.leases())
        assert found == [("one", 30.0, 1.0, "a"), ("two", 5.0, 2.0, None)]
        assert storage.held_by("one") == [":Default.x", ":Default.y"]
        assert storage.close_lease("one") == [":Default.x"]
        assert storage.flatlist() == [(":Default.y", URI), (":Default.z", URI)]
        assert [record.name for record in storage.leases()] == ["two"]
        assert storage.held_by("one") == []
        for use in (
            lambda: storage.close_lease("one"),
            lambda: storage.register(":Default.new", URI, created=1.0, lease="one"),
        ):
            with pytest.raises(NamingError, match=r"^lease is over: 'one'"):
                use()
        with pytest.raises(NamingError, match=r"^lease already exists: 'two'"):
            storage.open_lease("two", seconds=5.0, created=1.0)

    def test_leases_are_no_names(self, storage: NameStorage) -> None:
        count = len(storage)
        storage.open_lease("one", seconds=30.0, created=1.0)
        assert len(storage) == count
        assert storage.kind("one") is None
        assert "one" not in [record.name for record in storage.scan(":", None, 100)]

    # -- changes

    def test_every_change_is_told_in_order_with_a_higher_revision(self, storage: NameStorage) -> None:
        told: list[Change] = []
        storage.listen(told.extend)
        before = storage.revision
        storage.open_lease("one", seconds=30.0, created=1.0)
        storage.register(":Default.x", URI, created=1.0, lease="one")
        storage.set_meta(":Default.x", b"note")
        storage.create_group(":g", created=1.0)
        with pytest.raises(NamingError):
            storage.create_group(":g", created=1.0)
        storage.close_lease("one")
        storage.delete_group(":g")
        names = ["one", ":Default.x", ":Default.x", ":g", ":Default.x", "one", ":g"]
        assert [change.name for change in told] == names
        revisions = [before, *(change.revision for change in told)]
        assert revisions == sorted(set(revisions))
        assert storage.revision == revisions[-1]
        noted = told[2]
        assert noted.before is not None and noted.before.meta is None
        assert noted.after is not None and noted.after.meta == b"note"
        assert told[-1].after is None

    # -- meta

    @pytest.mark.parametrize(
        "meta", [None, b"text", b"", b"\x00\xff" * 4096]
    )
    def test_user_meta_comes_back_equal(self, storage: NameStorage, meta: bytes | None) -> None:
        storage.register(":Default.x", URI, created=1.0)
        for name in (":Default.x", ":Pyro", ":"):
            assert storage.get_meta(name) is None
            storage.set_meta(name, meta)
            assert storage.get_meta(name) == meta
            assert type(storage.get_meta(name)) is type(meta)
            storage.set_meta(name, None)
            assert storage.get_meta(name) is None

    def test_user_meta_ends_with_the_name(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1.0)
        storage.set_meta(":Default.x", b"old")
        storage.set_meta(":Pyro.deep", b"old")
        storage.unregister(":Default.x")
        storage.delete_group(":Pyro")
        storage.register(":Default.x", URI, created=1.0)
        storage.create_group(":Pyro", created=1.0)
        storage.create_group(":Pyro.deep", created=1.0)
        assert storage.get_meta(":Default.x") is None
        assert storage.get_meta(":Pyro.deep") is None

    def test_system_meta_has_kind_time_and_owner(self, storage: NameStorage) -> None:
        storage.register(":Default.x", URI, created=1795340977.39, owner="key-7")
        storage.create_group(":g", created=2.5, owner="me")
        assert storage.get_system_meta(":Default.x") == SystemMeta(OBJECT, 1795340977.39, "key-7")
        assert storage.get_system_meta(":g") == SystemMeta(GROUP, 2.5, "me")
        assert storage.get_system_meta(":Pyro") == SystemMeta(GROUP, 100.0, None)
        assert storage.get_system_meta(":").kind == GROUP

    # -- errors

    @pytest.mark.parametrize(
        ("method", "name", "reason"),
        [
            ("register", ":Default.x", "name already exists"),
            ("register", ":Default", "name already exists"),
            ("register", ":nope.y", "(parent)group not found"),
            ("register", ":nope.deeper.y", "(parent)group not found"),
            ("register", ":Default.x.y", "parent is no group"),
            ("register", ":", "invalid name"),
            ("register", "relative", "invalid name"),
            ("register", ":a..b", "invalid name"),
            ("register", ":Default.a b", "invalid character(s) in name"),
            ("replace", ":Default", "name already exists"),
            ("replace", ":nope.y", "(parent)group not found"),
            ("unregister", ":Default.nope", "name not found"),
            ("unregister", ":nope.y", "name not found"),
            ("unregister", ":Default.x.y", "name not found"),
            ("unregister", ":Default", "is a group, not an object"),
            ("unregister", "relative", "invalid name"),
            ("resolve", ":Default.nope", "name not found"),
            ("resolve", ":a.b.c", "name not found"),
            ("resolve", ":Default.x.y", "name not found"),
            ("resolve", ":Default", "attempt to resolve groupname"),
            ("resolve", ":", "attempt to resolve groupname"),
            ("resolve", "relative", "invalid name"),
            ("resolve", ":a b", "invalid character(s) in name"),
            ("create_group", ":Default", "group already exists"),
            ("create_group", ":Default.x", "name already exists"),
            ("create_group", ":nope.sub", "(parent)group not found"),
            ("create_group", ":Default.x.sub", "parent is no group"),
            ("create_group", ":", "invalid groupname"),
            ("create_group", "", "invalid groupname"),
            ("create_group", "relative", "invalid groupname"),
            ("create_group", ":a..b", "invalid groupname"),
            ("create_group", ":a b", "invalid character(s) in name"),
            ("delete_group", ":nope", "group not found"),
            ("delete_group", ":Default.x", "is no group"),
            ("delete_group", ":", "not allowed to delete root group"),
            ("delete_group", "relative", "invalid groupname"),
            ("list", ":nope", "group not found"),
            ("list", ":Default.nope", "group not found"),
            ("list", ":Default.x", "is no group"),
            ("list", "relative", "invalid groupname"),
            ("get_meta", ":Default.nope", "name not found"),
            ("get_meta", ":Default.x.y", "name not found"),
            ("get_meta", "relative", "invalid name"),
            ("set_meta", ":Default.nope", "name not found"),
            ("get_system_meta", ":Default.nope", "name not found"),
        ],
    )
    def test_wrong_name_raises_naming_error_with_pyros_text_and_full_name_and_changes_nothing(
        self, storage: NameStorage, method: str, name: str, reason: str
    ) -> None:
        storage.register(":Default.x", URI, created=1.0)
        before = self._all_of(storage)
        with pytest.raises(NamingError) as caught:
            self._call(storage, method, name)
        assert str(caught.value).startswith(f"{reason}: {name!r}")
        assert caught.value.args == (str(caught.value),)
        assert vars(caught.value) == {"reason": reason, "name": name}
        assert self._all_of(storage) == before

    def _call(self, storage: NameStorage, method: str, name: str) -> None:
        if method in ("register", "replace"):
            storage.register(name, OTHER, created=9.0, replace=method == "replace")
        elif method == "create_group":
            storage.create_group(name, created=9.0)
        elif method == "set_meta":
            storage.set_meta(name, b"meta")
        else:
            getattr(storage, method)(name)

    def _all_of(self, storage: NameStorage) -> object:
        groups = (":", ":Default", ":Pyro", ":Pyro.deep")
        return storage.flatlist(), [storage.list(group) for group in groups], len(storage)

    # -- bounds and the end

    def test_number_of_names_is_bounded(self) -> None:
        with self.make_storage(max_names=2) as storage:
            storage.create_group(":g", created=1.0)
            storage.register(":g.x", URI, created=1.0)
            message = r"^too many names: ':g\.y' would be one more than 2 \(max_names\)$"
            with pytest.raises(NamingError, match=message):
                storage.register(":g.y", URI, created=1.0)
            with pytest.raises(NamingError, match=r"^too many names"):
                storage.create_group(":h", created=1.0)
            storage.register(":g.x", OTHER, created=1.0, replace=True)
            assert storage.list(":g") == [("x", OBJECT)]
            storage.unregister(":g.x")
            storage.register(":g.y", URI, created=1.0)

    def test_closed_storage_raises_naming_error_and_may_be_closed_again(self) -> None:
        storage = self.make_storage()
        assert "closed" not in repr(storage)
        storage.close()
        storage.close()
        assert "closed" in repr(storage)
        for use in (
            lambda: storage.resolve(":x"),
            lambda: storage.register(":x", URI, created=1.0),
            lambda: storage.unregister(":x"),
            lambda: storage.create_group(":x", created=1.0),
            lambda: storage.delete_group(":x"),
            lambda: storage.list(":"),
            lambda: storage.flatlist(),
            lambda: storage.kind(":x"),
            lambda: storage.set_meta(":x", b"1"),
            lambda: storage.get_meta(":x"),
            lambda: storage.get_system_meta(":x"),
            lambda: len(storage),
            lambda: storage.members(":x"),
            lambda: storage.record(":x"),
            lambda: storage.scan(":", None, 1),
            lambda: storage.open_lease("x", seconds=1.0, created=1.0),
            lambda: storage.close_lease("x"),
            lambda: storage.leases(),
            lambda: storage.held_by("x"),
            lambda: storage.revision,
        ):
            with pytest.raises(NamingError, match="is closed"):
                use()


# -- against a model ------------------------------------------------------------------------------------

#: Few parts, so that names meet; deep enough for groups in groups, and letters around the dot in the order.
PARTS = st.sampled_from(["a", "b", "a-", "é"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: ":" + ".".join(parts))


def state_machine(
    make_storage: Callable[[], NameStorage], reopen: Callable[[NameStorage], NameStorage] | None = None
) -> type[RuleBasedStateMachine]:
    """Make the state machine: a storage beside two plain dicts, which must agree after every step.

    Args:
        reopen: for a storage that lasts: ends the one it is given, and returns one that has the same names.
    """

    class StorageAgainstModel(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.storage = make_storage()
            self.objects: dict[str, str] = {}
            self.groups: set[str] = {":"}
            self.meta: dict[str, bytes] = {}
            self.leases: dict[str, set[str]] = {}
            self.count = 0

        def teardown(self) -> None:
            self.storage.close()

        def agree(self, expected: bool, act: Callable[[], object]) -> bool:
            """Do it; it must raise a NamingError exactly when the model says so."""
            try:
                act()
            except NamingError:
                assert not expected
            else:
                assert expected
            return expected

        def is_free(self, name: str) -> bool:
            taken = name in self.objects or name in self.groups
            return not taken and split_name(name)[0] in self.groups

        def forget(self, name: str) -> None:
            self.objects.pop(name, None)
            self.groups.discard(name)
            self.meta.pop(name, None)
            for held in self.leases.values():
                held.discard(name)

        @rule(name=NAMES, replace=st.booleans())
        def register(self, name: str, replace: bool) -> None:
            self.count += 1
            uri = f"{URI}{self.count}"
            expected = self.is_free(name) or (replace and name in self.objects)
            if self.agree(expected, lambda: self.storage.register(name, uri, created=1.0, replace=replace)):
                for held in self.leases.values():
                    held.discard(name)
                self.objects[name] = uri

        @rule(name=NAMES, lease=st.sampled_from(["one", "two"]))
        def register_leased(self, name: str, lease: str) -> None:
            self.count += 1
            uri = f"{URI}{self.count}"
            expected = self.is_free(name) and lease in self.leases
            if self.agree(expected, lambda: self.storage.register(name, uri, created=1.0, lease=lease)):
                self.objects[name] = uri
                self.leases[lease].add(name)

        @rule(lease=st.sampled_from(["one", "two"]))
        def open_or_close_lease(self, lease: str) -> None:
            if lease in self.leases:
                held = self.leases.pop(lease)
                assert self.storage.close_lease(lease) == sorted(held)
                for name in held:
                    self.forget(name)
            else:
                self.storage.open_lease(lease, seconds=5.0, created=1.0)
                self.leases[lease] = set()

        @rule(name=NAMES)
        def unregister(self, name: str) -> None:
            if self.agree(name in self.objects, lambda: self.storage.unregister(name)):
                self.forget(name)

        @rule(name=NAMES)
        def create_group(self, name: str) -> None:
            if self.agree(self.is_free(name), lambda: self.storage.create_group(name, created=1.0)):
                self.groups.add(name)

        @rule(name=NAMES)
        def delete_group(self, name: str) -> None:
            gone: list[str] = []
            if self.agree(name in self.groups, lambda: gone.extend(self.storage.delete_group(name))):
                below = [other for other in [*self.objects, *self.groups] if other.startswith(name + ".")]
                assert gone == sorted(other for other in below if other in self.objects)
                for other in [name, *below]:
                    self.forget(other)

        @rule(name=NAMES, meta=st.binary(max_size=3))
        def set_meta(self, name: str, meta: bytes) -> None:
            known = name in self.objects or name in self.groups
            if self.agree(known, lambda: self.storage.set_meta(name, meta)):
                self.meta[name] = meta

        @rule(name=NAMES)
        def ask_for_one(self, name: str) -> None:
            kind = OBJECT if name in self.objects else GROUP if name in self.groups else None
            assert self.storage.kind(name) == kind
            if kind is not None:
                assert self.storage.get_meta(name) == self.meta.get(name)
                assert self.storage.get_system_meta(name) == SystemMeta(kind, 1.0)

        @precondition(lambda self: reopen is not None)
        @rule()
        def end_and_begin_again(self) -> None:
            assert reopen is not None
            leases = sorted(record.name for record in self.storage.leases())
            self.storage = reopen(self.storage)
            assert sorted(record.name for record in self.storage.leases()) == leases
            for lease, held in self.leases.items():
                assert self.storage.held_by(lease) == sorted(held)

        @rule(offset=st.integers(0, 5), limit=st.integers(0, 5))
        def list_a_page_of_each_group(self, offset: int, limit: int) -> None:
            for group in self.groups:
                page = self.children_of(group)[offset : offset + limit]
                assert self.storage.list(group, offset, limit) == page

        def children_of(self, group: str) -> list[tuple[str, int]]:
            kinds = [(name, OBJECT) for name in self.objects]
            kinds += [(name, GROUP) for name in self.groups if name != ":"]
            return sorted((split_name(name)[1], kind) for name, kind in kinds if split_name(name)[0] == group)

        @invariant()
        def all_that_is_in_it_is_what_the_model_has(self) -> None:
            assert self.storage.flatlist() == sorted(self.objects.items())
            assert len(self.storage) == len(self.objects) + len(self.groups) - 1
            for group in self.groups:
                assert self.storage.list(group) == self.children_of(group)
            for name, uri in self.objects.items():
                assert self.storage.resolve(name) == uri

    # A storage on disk may take its time over each of them.
    StorageAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
    return StorageAgainstModel
