"""`gpyro keygen`: make a key for one caller."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("keygen")
@click.argument("key_id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", help="Where the key goes.  [default: ID.key]")
@click.option("-r", "--role", "roles", metavar="ROLE", multiple=True, help="A role of this caller; repeatable.")
def command(key_id: str, output: str | None, roles: tuple[str, ...]) -> None:
    """Make a machine key that stands for ID, the name under which servers know this caller.

    The key goes into a new file that only this user can read (mode 0600), for the caller. What is printed is the
    line for the server's file of accounts: nobody can log in with it, but whoever has it and listens to a login
    can, so keep that file to yourself too.
    """
    import os

    from gpyro.auth import KEY_BYTES, Key, check_id, format_key, format_verifier, write_private

    try:
        for name in (key_id, *roles):
            check_id(name)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    key = Key(key_id, os.urandom(KEY_BYTES))
    path = output or f"{key_id.replace('/', '_')}.key"
    write_private(path, format_key(key))
    click.echo(f"The key of {key_id} is in {path}. The line for the server:", err=True)
    click.echo(format_verifier(key.verifier(roles)), nl=False)
