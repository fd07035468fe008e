"""Try every class of the standard library as an object that travels by value; prints what came of it as JSON.

    python by_value_standard_library.py DIRECTORY
"""

import importlib
import json
import os
import pkgutil
import sys
import warnings

import ormsgpack

from gpyro._serializers.byvalue import ByValue
from gpyro._serializers.library_errors import find_library_error
from gpyro._serializers.registry import BASE_VALUES, EXCEPTION_NAMES, builtin_base
from gpyro._serializers.standard import find_encoder
from gpyro.configuration import PROGRAM
from gpyro.errors import PyroError
from gpyro.serializers import Codec

#: What prints, opens windows or browsers, ends the process, or runs tests when it is imported.
SIDE_EFFECTS = ("antigravity", "this", "idlelib", "turtle", "turtledemo", "test", "tkinter", "lib2to3")
#: What travels to everybody, besides what has an encoder.
DATA = (str, int, float, bytes, bytearray, list, dict)


def wanted(name):
    parts = name.split(".")
    return parts[0] not in SIDE_EFFECTS and not {"__main__", "test", "tests", "__phello__"} & set(parts)


def import_all():
    for top in sorted(filter(wanted, sys.stdlib_module_names)):
        names = [top]
        try:
            places = getattr(importlib.import_module(top), "__path__", None)
        except BaseException:
            continue
        if places:
            names += [found.name for found in pkgutil.walk_packages(places, top + ".", lambda name: None)]
        for name in filter(wanted, names):
            try:
                importlib.import_module(name)
            except BaseException:  # of another system, or not built here
                continue


def all_classes():
    found, level = set(), [object]
    while level:
        level = [sub for cls in level for sub in type.__subclasses__(cls) if sub not in found]
        found.update(level)
    names = {*sys.stdlib_module_names, "builtins"}
    return sorted(
        (cls for cls in found if str(cls.__module__).partition(".")[0] in names),
        key=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
    )


def is_rebuilt(codec, name, state, cls):
    body = ormsgpack.packb(ormsgpack.Ext(40, codec.encode_value([name, state])[0]))
    try:
        codec.decode_value(body)
    except PyroError:
        return False
    return True


def bare(cls):
    """An object of the class, without running code of it; None where that is not possible."""
    base = builtin_base(cls)
    if base is not object and base not in BASE_VALUES and not issubclass(cls, BaseException):
        return None
    try:
        return base.__new__(cls)
    except TypeError:
        return None


def is_sent(codec, value):
    try:
        codec.encode_value(value)
    except PyroError:
        return False
    return True


def arrives_as_itself(codec, exc):
    return type(codec.decode_error(*codec.encode_error(exc, None))) is type(exc)


def canary(directory, name):
    path = os.path.join(directory, name)
    with open(path, "w"):
        pass
    return path


def main(directory):
    # Objects that were never set up complain when they go.
    sys.unraisablehook = lambda problem: None
    warnings.simplefilter("ignore")
    import_all()
    classes = all_classes()
    # As if the script had imported each: then its module has them, under their names.
    for cls in classes:
        globals().setdefault(cls.__name__, cls)
    path = canary(directory, "canary")
    state = {name: path for name in ("name", "_name", "path", "file", "filename", "_file", "dir", "_tempdir")}
    state.update(delete=True, close_called=False, cleanup_called=False, delete_on_close=True)
    everything = tuple({PROGRAM, "__main__", *(str(cls.__module__) for cls in classes)})
    codecs = [Codec(by_value=ByValue(modules, lambda: True)) for modules in ((PROGRAM,), everything)]
    rebuilt, sent = [], []
    for codec in codecs:
        for cls in classes:
            own = f"{cls.__module__}.{cls.__qualname__}"
            for name in (own, f"__main__.{cls.__name__}", f"__main__.{cls.__qualname__}"):
                for part in (state, [b"", state], ["", state], [[], state], [{}, state], [0, state]):
                    if is_rebuilt(codec, name, part, cls):
                        rebuilt.append(name)
            value = bare(cls)
            if value is None or cls in EXCEPTION_NAMES or cls in DATA or find_encoder(cls) is not None:
                continue
            if isinstance(value, BaseException):
                # Those of a list of their own are not rebuilt by this one.
                if find_library_error(own) is None and arrives_as_itself(codec, value):
                    rebuilt.append(f"exception {own}")
            elif is_sent(codec, value):
                sent.append(own)
    second = canary(directory, "second")
    import tempfile

    loose = object.__new__(tempfile._TemporaryFileCloser)
    loose.__dict__.update({**state, "name": second})
    del loose
    print(json.dumps({
        "classes": len(classes), "rebuilt": rebuilt, "sent": sent,
        "canary is there": os.path.exists(path), "a canary dies of a rebuilt object": not os.path.exists(second),
    }))


if __name__ == "__main__":
    main(sys.argv[1])
