"""What may be called, read and written on an object from outside."""

from __future__ import annotations

import threading
import types
from typing import Any

import pytest

import gpyro
from gpyro.errors import DaemonError
from gpyro.objects import ObjBase, build_table


class Base:
    def inherited(self) -> str:
        return "inherited"

    def replaced(self) -> str:
        return "base"


class Plain(Base):
    number = 1
    module = types

    def __init__(self) -> None:
        self.own = [1]
        self.function = lambda: "never"
        self._secret = 1

    def method(self) -> str:
        return "method"

    def replaced(self) -> str:
        return "plain"

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    @property
    def computed(self) -> int:
        return 5

    def _private(self) -> None: ...

    def __call__(self) -> None: ...


class Direct(ObjBase, Plain):
    def __init__(self) -> None:
        ObjBase.__init__(self)
        Plain.__init__(self)


class Selective(Base):
    @gpyro.expose
    def shown(self) -> str:
        return "shown"

    def hidden(self) -> None: ...

    def replaced(self) -> str:
        return "hidden by the subclass"


@gpyro.expose
class Whole(Base):
    def shown(self) -> str:
        return "shown"


EXPOSED = {"inherited", "method", "replaced", "static", "of_class"}


@pytest.mark.parametrize("make", [Plain, Direct], ids=["plain", "ObjBase"])
def test_public_methods_of_the_class_and_its_bases_are_callable_and_nothing_else(make: type) -> None:
    table = build_table(make())
    assert set(table.methods) == EXPOSED
    assert table.find("replaced").function() == "plain"
    assert table.find("static").function() == "static"
    assert table.find("of_class").function() == make.__name__


def test_delegate_stands_for_the_object() -> None:
    obj = ObjBase()
    obj.delegateTo(Plain())
    assert set(build_table(obj).methods) == EXPOSED


def test_methods_of_ObjBase_are_never_callable() -> None:
    table = build_table(ObjBase())
    assert table.methods == {}
    for name in vars(ObjBase):
        with pytest.raises(AttributeError):
            table.find(name)


@pytest.mark.parametrize("base", [threading.Thread, list, dict, Exception])
def test_methods_of_the_standard_library_are_not_exposed_by_a_subclass(base: Any) -> None:
    cls: Any = type("Mixed", (ObjBase, base), {"mine": lambda self: 1, "__module__": __name__})
    obj = cls.__new__(cls)
    ObjBase.__init__(obj)
    assert set(build_table(obj).methods) == {"mine"}


def test_class_that_exposes_something_exposes_nothing_else_of_its_own() -> None:
    table = build_table(Selective())
    assert set(table.methods) == {"shown", "inherited"}


def test_class_that_is_exposed_as_a_whole_exposes_its_public_methods() -> None:
    assert set(build_table(Whole()).methods) == {"shown", "inherited", "replaced"}


def test_private_names_cannot_be_exposed() -> None:
    with pytest.raises(ValueError, match="_hidden"):

        @gpyro.expose
        def _hidden() -> None: ...


@pytest.mark.parametrize("mark", ["oneway", "offload", "idempotent", "cancellable"])
def test_marks_of_a_method_are_in_the_table(mark: str) -> None:
    cls = type("Marked", (), {"method": getattr(gpyro, mark)(lambda self: 1), "__module__": __name__})
    method = build_table(cls()).find("method")
    assert getattr(method, mark) is True
    assert sum(getattr(method, other) for other in ("oneway", "offload", "idempotent", "cancellable")) == 1


def test_public_data_of_an_ObjBase_can_be_read_and_written() -> None:
    obj = Direct()
    table = build_table(obj)
    assert (table.read("number"), table.read("own"), table.read("computed")) == (1, [1], 5)
    table.write("number", 2)
    table.write("new", 3)
    assert (obj.number, obj.new) == (2, 3)


@pytest.mark.parametrize(
    "name",
    ["_secret", "__class__", "__dict__", "objectGUID", "delegate", "daemon", "_gpyro_daemon", "module", "function",
     "missing"],
)  # fmt: skip
def test_state_modules_callables_and_private_names_cannot_be_read(name: str) -> None:
    with pytest.raises(AttributeError):
        build_table(Direct()).read(name)


@pytest.mark.parametrize("name", ["_secret", "__class__", "objectGUID", "delegate", "daemon", "method", "module"])
def test_state_modules_methods_and_private_names_cannot_be_written(name: str) -> None:
    obj = Direct()
    before = dict(obj.__dict__)
    with pytest.raises(AttributeError):
        build_table(obj).write(name, 1)
    assert obj.__dict__ == before
    assert obj.__class__ is Direct


def test_plain_object_has_only_the_attributes_that_were_named() -> None:
    obj = Plain()
    with pytest.raises(AttributeError):
        build_table(obj).read("number")
    table = build_table(obj, attributes=["number"])
    table.write("number", 9)
    assert table.read("number") == 9
    with pytest.raises(AttributeError):
        table.read("own")


def test_private_attribute_cannot_be_named() -> None:
    with pytest.raises(DaemonError, match="_secret"):
        build_table(Plain(), attributes=["_secret"])


def test_subclass_that_forgot_the_constructor_of_ObjBase_works_all_the_same() -> None:
    class Forgetful(ObjBase):
        def __init__(self) -> None:
            self.mine = 1

    obj = Forgetful()
    assert len(obj.GUID()) == 32
    assert obj.GUID() == obj.GUID()
    assert obj.getDaemon() is None
    with pytest.raises(DaemonError, match="not connected"):
        obj.getProxy()


@pytest.mark.parametrize("kind", [gpyro.SynchronizedObjBase, gpyro.CallbackObjBase])
def test_methods_of_the_other_base_classes_are_never_callable_and_those_of_their_subclasses_are(
    kind: type[ObjBase],
) -> None:
    class Own(kind):  # type: ignore[misc, valid-type]
        number = 1

        def method(self) -> None: ...

    assert build_table(kind()).methods == {}
    table = build_table(Own())
    assert set(table.methods) == {"method"} and table.attribute_names() == {"number"}
    method = table.find("method")
    assert method.synchronized is (kind is gpyro.SynchronizedObjBase)
    assert method.reports is (kind is gpyro.CallbackObjBase)


def test_wrapper_decides_how_its_delegate_is_called() -> None:
    wrapper = gpyro.SynchronizedObjBase()
    wrapper.delegateTo(Plain())
    assert build_table(wrapper).find("method").synchronized
    assert not build_table(Plain()).find("method").synchronized


def test_object_cannot_delegate_to_itself() -> None:
    obj = ObjBase()
    with pytest.raises(DaemonError, match="itself"):
        obj.delegateTo(obj)


def test_table_and_methods_show_what_they_are() -> None:
    table = build_table(Plain())
    assert "Plain" in repr(table) and "method" in repr(table)
    assert repr(table.find("method")) == "<Method Plain.method>"


def test_object_takes_an_id_of_ones_own_choice_until_it_is_connected() -> None:
    obj = ObjBase()
    obj.setGUID("well-known")
    assert obj.GUID() == "well-known"
    for wrong in ("", "x" * 256):
        with pytest.raises(DaemonError, match="1 to 255 bytes"):
            obj.setGUID(wrong)
    with gpyro.Daemon(port=0, norange=True) as daemon:
        assert str(daemon.connect(obj)).endswith("/well-known")
        with pytest.raises(DaemonError, match="disconnect it first"):
            obj.setGUID("other")
        other = ObjBase()
        other.setPyroDaemon(daemon)
        assert other.getDaemon() is daemon
        other.setPyroDaemon(None)
        assert other.getDaemon() is None
    assert build_table(obj).methods == {}
