"""A name server whose names are in a database and are there again after a restart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gpyro._naming.server import NameServer
from gpyro.configuration import config

if TYPE_CHECKING:
    from gpyro.storage.sqlite import SqliteStorage

__all__ = ["PersistentNameServer", "open_database"]

#: The directory below the setting `storage`. Source: Pyro 3.16, transcript of `-d`.
DIRECTORY = "Pyro_NS_database"
FILE = "names.sqlite"


def open_database(dbdir: str | None = None) -> SqliteStorage:
    """Open the database in a directory, which may be relative to the setting `storage`; who opens it closes it.

    Raises:
        StorageError: it is damaged, in use, or not one that can be used.
    """
    from gpyro.storage.sqlite import SqliteStorage  # 5 ms, and clients do not need it

    return SqliteStorage(os.path.join(config.storage, os.path.expanduser(dbdir or DIRECTORY), FILE))


class PersistentNameServer(NameServer):
    """A name server with a database of its own, for programs with a daemon of their own.

    Args:
        dbdir: the directory of the database, relative to the setting `storage`; "Pyro_NS_database" by default.
        role: accepted as in Pyro and not looked at: this object serves alone.
        identification: accepted as in Pyro and not looked at: what callers have to prove is the daemon's affair.

    Resources: `close` when the daemon has ended; `NameServerStarter` with `persistent` does all that by itself.
    Of one that is not closed nothing is lost that callers were told is there.

    Raises:
        StorageError: the database is damaged, in use, or not one that can be used.

    Source: Pyro.naming.PersistentNameServer.
    """

    def __init__(self, dbdir: str | None = None, role: object = 0, identification: object = None) -> None:
        self._database = open_database(dbdir)
        try:
            super().__init__(self._database)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Wait until all changes are on the disk and let go of the database; closing again does nothing.

        Raises:
            StorageError: the disk did not answer in time.
        """
        self._database.close()
