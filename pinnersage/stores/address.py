"""Address: what a message may say of a server's address."""


def without_password(url: str) -> str:
    """Return scheme and what follows the last @, without a query.

    The text is cut before anything parses it: a password may hold any character, escaped or not.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
