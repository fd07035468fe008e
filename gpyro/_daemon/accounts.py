"""Whom a daemon knows: passphrases salted once and numbered once, however often the list of them changes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from gpyro import hub
from gpyro.auth import Accounts, Identifications, Kdf, Passphrase

__all__ = ["AccountBook"]

#: Seconds after which a login looks again whether somebody else has salted what it waits for.
LOOK_SECONDS = 1.0


class AccountBook:
    """The accounts of one daemon; its salt is random and stays for its life.

    Salting takes 35 ms for each passphrase, in a native thread, and is done once for each of them.
    """

    def __init__(self) -> None:
        self._salt = Accounts.new_salt()
        self._kdf = Kdf()
        #: By digest of the passphrase: its salted key while it is on the list, and its number for good, so that
        #: nobody gets the rights of one that was taken out.
        self._salted: dict[bytes, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._lock = hub.NativeLock()
        self._accounts: Accounts | None = None
        self._made_for: Identifications | None = None
        self._making: tuple[Any, hub.Signal] | None = None

    def __repr__(self) -> str:
        return f"<AccountBook, {self._accounts or 'nobody yet'}>"

    def of(self, wanted: Identifications) -> Accounts:
        """Return the accounts for what a validator wants; made when it wants something new."""
        while self._accounts is None or self._made_for is not wanted:
            state = hub.current_state()
            if self._making is None or self._making[0] is not state:
                self._make_for_all(state, wanted)
            else:
                hub.wait_for(self._making[1], (), LOOK_SECONDS)
        return self._accounts

    def _make_for_all(self, state: Any, wanted: Identifications) -> None:
        """Make them; other logins of this thread that need them wait for this one."""
        making = self._making = state, hub.Signal()
        try:
            accounts = self.make(wanted)
            self.use(accounts, wanted)
        finally:
            if self._making is making:
                self._making = None
            making[1].set()

    def make(self, wanted: Identifications) -> Accounts:
        """Return accounts that are not in use yet."""
        passphrases, verifiers = wanted
        digests = [self._digest(item) for item in passphrases]
        known = dict(self._salted)
        new = {key: item for key, item in zip(digests, passphrases, strict=True) if key not in known}
        if new:
            known.update(hub.compute(lambda: {key: self._derive(item) for key, item in new.items()}))
            self._salted = {**self._salted, **known}
        named = [
            (item.id or f"passphrase:{self._number(key)}", known[key])
            for key, item in zip(digests, passphrases, strict=True)
        ]
        return Accounts(named, verifiers, self._kdf, self._salt)

    def use(self, accounts: Accounts, wanted: Identifications) -> None:
        """Let logins go by these from now on; of others' passphrases nothing but the number is kept."""
        self._accounts, self._made_for = accounts, wanted
        kept = {self._digest(item) for item in wanted[0]}
        self._salted = {key: salted for key, salted in self._salted.items() if key in kept}

    def _digest(self, passphrase: Passphrase) -> bytes:
        return sha256(self._salt + bytes(passphrase.secret)).digest()  # type: ignore[arg-type]

    def _derive(self, passphrase: Passphrase) -> bytes:
        return self._kdf.derive(bytes(passphrase.secret), self._salt)  # type: ignore[arg-type]

    def _number(self, digest: bytes) -> int:
        with self._lock:
            return self._numbers.setdefault(digest, len(self._numbers) + 1)
