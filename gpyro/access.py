"""What an identity may do: the rules of an object or a daemon, parsed and checked once, then only looked up.

    {"operator": {"start", "stop"}, "reader": {"status", "speed"}, "press-4": {"*", "speed="}, "*": {"status"}}

Who calls is known by principals: its identity, its roles, and `*`, which is everybody who was let in. A name is
that of a method or of a data attribute that may be read; `name=` lets an attribute be written; `*` is every
method and no attribute. What no rule grants is denied. This room is pure: it knows nothing of logins and
connections.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from gpyro.errors import AccessDeniedError, DaemonError

__all__ = ["EVERYBODY", "LET_IN", "Allow", "Rules", "denial", "describe_caller", "parse_rules"]

#: The principal that stands for everybody who was let in, and among names for every method.
EVERYBODY = ANY_METHOD = "*"
#: What a caller is at least.
LET_IN = frozenset({EVERYBODY})
#: Longest name of a caller's that an error repeats, and most names that one lists.
SHOWN_CHARACTERS, SHOWN_NAMES = 100, 10

FORM = 'rules look like {"operator": {"start", "stop"}, "reader": {"status"}}'


class Rules:
    """Who may use which names; nothing in it changes any more.

    `parse_rules` makes them.
    """

    __slots__ = ("_by_name", "_by_principal")

    def __init__(self, grants: Mapping[str, frozenset[str]]) -> None:
        self._by_principal = {principal: names for principal, names in grants.items() if names}
        self._by_name = {
            name: frozenset(principal for principal, names in grants.items() if name in names)
            for name in frozenset().union(*grants.values())
        }

    def __repr__(self) -> str:
        text = "; ".join(f"{who}: {_listed(names)}" for who, names in sorted(self._by_principal.items()))
        return f"<Rules {text or 'that grant nothing'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self._by_principal == other._by_principal

    def __hash__(self) -> int:
        return hash(frozenset(self._by_principal.items()))

    def callers(self, name: str) -> frozenset[str]:
        """Return the principals that may call the method of that name."""
        return self._holders(name) | self._holders(ANY_METHOD)

    def readers(self, name: str) -> frozenset[str]:
        """Return the principals that may read the attribute of that name."""
        return self._holders(name)

    def writers(self, name: str) -> frozenset[str]:
        """Return the principals that may write the attribute of that name."""
        return self._holders(name + "=")

    def users(self, offers: Callable[[str], bool]) -> frozenset[str]:
        """Return the principals that are granted anything of an object; `offers` tells what it has."""
        return frozenset[str]().union(
            *(who for name, who in self._by_name.items() if name == ANY_METHOD or offers(name.removesuffix("=")))
        )

    def granting(self, principal: str, names: Iterable[str]) -> Rules:
        """Return rules that grant these names to a principal besides."""
        mine = self._by_principal.get(principal, frozenset()) | frozenset(names)
        return Rules({**self._by_principal, principal: mine})

    def check(self, methods: Collection[str], attributes: Collection[str], description: str) -> None:
        """See that an object has all the names that are granted.

        Raises:
            DaemonError: it has not; the message says which one, and which are like it.
        """
        for name in sorted(self._by_name.keys() - {ANY_METHOD}):
            if name.endswith("="):
                _check_known(name, attributes, "data attribute", description)
            else:
                _check_known(name, {*methods, *attributes}, "method or data attribute", description)

    def _holders(self, name: str) -> frozenset[str]:
        return self._by_name.get(name, frozenset())


def _check_known(name: str, known: Collection[str], kind: str, description: str) -> None:
    bare = name.removesuffix("=")
    if bare in known:
        return
    import difflib  # only for whoever mistypes a name

    near = difflib.get_close_matches(bare, known, SHOWN_NAMES)
    if near:
        hint = f"did you mean {_listed(near)}?"
    else:
        hint = f"there is {_listed(known) or 'nothing'}; what comes later has to be named in attributes="
    raise DaemonError(f"allow= names {name!r}, but the {description} has no such {kind}; {hint}")


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN_NAMES} more" if len(ordered) > SHOWN_NAMES else ""
    return ", ".join(ordered[:SHOWN_NAMES]) + more


# -- parsing -------------------------------------------------------------------------------------------------

#: What a program gives as `allow=`. A text is no set of names, and is refused.
Allow = Mapping[str, AbstractSet[str] | list[str] | tuple[str, ...]] | Rules


def parse_rules(allow: object) -> Rules | None:
    """Make rules of what a program gave as `allow=`; None stays None, which is: no rules.

    Raises:
        DaemonError: it is not a mapping of principals to sets of names, or a name can be none of an object's.
    """
    if allow is None or isinstance(allow, Rules):
        return allow
    if not isinstance(allow, Mapping):
        raise DaemonError(f"allow={allow!r} is of type {type(allow).__name__}; {FORM}")
    return Rules({_principal(who): _names(who, names) for who, names in allow.items()})


def _principal(who: object) -> str:
    if not isinstance(who, str):
        raise DaemonError(f"allow= has {who!r} of type {type(who).__name__} as an identity or role; {FORM}")
    if not who or who != who.strip():
        raise DaemonError(f"allow= has {who!r} as an identity or role: empty, or with blanks around it; {FORM}")
    return who


def _names(who: str, names: object) -> frozenset[str]:
    if isinstance(names, str):
        raise DaemonError(f"allow= gives {who!r} the text {names!r} in place of a set; write {{{names!r}}}")
    if not isinstance(names, (AbstractSet, list, tuple)):
        raise DaemonError(f"allow= gives {who!r} {names!r} of type {type(names).__name__}, not a set; {FORM}")
    return frozenset(_name(who, name) for name in names)


def _name(who: str, name: object) -> str:
    if not isinstance(name, str):
        raise DaemonError(f"allow= gives {who!r} {name!r} of type {type(name).__name__}; a name is text")
    bare = name.removesuffix("=")
    if bare.startswith("_"):
        raise DaemonError(f"allow= gives {who!r} {name!r}; private names are never reachable from outside")
    if name != ANY_METHOD and not bare.isidentifier():
        raise DaemonError(
            f"allow= gives {who!r} {name!r}; a name is that of a method or attribute, with = behind it one that "
            "may be written, and '*' stands for every method"
        )
    return name


# -- denying -------------------------------------------------------------------------------------------------


def describe_caller(identity: str | None, principals: Collection[str]) -> str:
    """Say who calls: `'press-4' (role operator)`, or `a caller without an identity`."""
    roles = sorted(set(principals) - {identity, EVERYBODY})
    who = "a caller without an identity" if identity is None else repr(identity)
    return f"{who} (role{'s' * (len(roles) > 1)} {', '.join(roles)})" if roles else who


def denial(identity: str | None, principals: Collection[str], verb: str, name: str) -> AccessDeniedError:
    """Make the error for a name that no rule grants to a caller; the same whether there is such a name or not.

    Args:
        identity: who calls.
        principals: what it is known by.
        verb: call, read or write.
        name: the name that was asked for.
    """
    short = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "..."
    grant = short + "=" if verb == "write" else short
    remedy = "log in as somebody who may, or have" if identity is None else "have"
    return AccessDeniedError(
        f"access denied: {describe_caller(identity, principals)} may not {verb} {short!r}, as no rule of this "
        f"object grants it; {remedy} the server grant {grant!r} with allow= when it connects the object"
    )
