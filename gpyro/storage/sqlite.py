"""Names kept in a SQLite file: what was acknowledged is on the disk.

The tree is in memory and answers all questions; changes go to the file through the journal, many in one
transaction, while the hub runs on. `infile` looks after the file, `database` knows what is in it.
"""

from __future__ import annotations

import time
from functools import partial

from gpyro.errors import NamingError
from gpyro.namerecords import Changes
from gpyro.names import MAX_NAMES
from gpyro.nametree import NameTree
from gpyro.storage.claim import NAMES, Claim
from gpyro.storage.database import Entry, Stand, Writer, fill_new, read_into, stand_of
from gpyro.storage.infile import InFile
from gpyro.storage.journal import Round
from gpyro.storage.tree import TreeStorage, note_name

__all__ = ["SqliteStorage"]


class SqliteStorage(InFile[Entry], TreeStorage):
    """A tree of names in a file of this user's (mode 0600); one process uses it at a time.

    Args:
        path: of the file; it is made where there is none, with its directory.
        max_names: most objects and groups.
        created: of the root group of a new file, in seconds since 1970; now by default.

    Resources: `close` waits for what is queued, and ends the thread that writes. A process that is killed leaves
    the file as it is and lets go of it. In a forked child the storage is of no use.
    Errors: a change that the disk does not take is undone and raises StorageError; with a full disk later ones may
    pass again, after any other failure none is taken until the file is opened anew. Look-ups go on.

    Raises:
        StorageError: the file is damaged, of a newer gpyro, of another program or user, or used by another name
            server. It is left as it was.
    """

    def __init__(self, path: str, *, max_names: int = MAX_NAMES, created: float | None = None) -> None:
        TreeStorage.__init__(self, NameTree(max_names=max_names))
        root_created = time.time() if created is None else float(created)
        self._open_file(path, NAMES, lambda new: fill_new(new, root_created), self._read)

    def _read(self, claim: Claim) -> partial[Writer]:
        self._notes, self._graves, seal = read_into(self._open_tree, claim)
        return partial(Writer, claim.path, self._notes, seal, claim.release)

    def __repr__(self) -> str:
        if self._tree is None:
            return f"<SqliteStorage {self.path}, {self._end}>"
        return f"<SqliteStorage {self.path}, {self._tree}, {self._journal}>"

    @property
    def _open_tree(self) -> NameTree:
        self._check_process()
        return super()._open_tree

    # -- changing --------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closing:
            raise NamingError(f"this {type(self).__name__} is closed")
        self._journal.check()

    def _keep(self, changes: Changes) -> Round[Entry]:
        pending = self._journal.put(Entry(changes, self._stand(), buries=self._buries))
        for change in changes:
            self._unsettled[change.name] = pending
        return pending

    def _keep_note(self, key: str, before: str | None) -> Round[Entry]:
        pending = self._journal.put(Entry([], self._stand(), (key, self._notes[key]), before))
        self._unsettled[note_name(key)] = pending
        return pending

    def _stand(self) -> Stand:
        return stand_of(self._open_tree)

    def _newest(self) -> Round[Entry] | None:
        return self._journal.newest()

    # -- in the journal's thread, with the lock held ---------------------------------------------------------

    def _note_lasting(self, batch: Round[Entry]) -> None:
        for changes, _, note, *_ in batch.entries:
            names = [change.name for change in changes] if note is None else [note_name(note[0])]
            for name in names:
                if self._unsettled.get(name) is batch:
                    del self._unsettled[name]
        for changes, *_ in batch.entries:
            if changes:
                self._tell(changes)

    def _undo(self, entries: list[Entry]) -> None:
        """Take back all that does not last, the last change first."""
        self._unsettled.clear()
        tree = self._tree
        if tree is None:
            return  # It was closed while the disk hung.
        for changes, _, note, before, _ in reversed(entries):
            for change in reversed(changes):
                tree.apply(change.undone())
            if note is not None and before is None:
                del self._notes[note[0]]
            elif note is not None and before is not None:
                self._notes[note[0]] = before

    def _drop(self) -> None:
        self._tree = None
