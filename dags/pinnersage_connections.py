"""Connections: passwords from Airflow's connections to where the library reads them.

Not a DAG file itself (.airflowignore). The library reads servers and passwords from the
environment. Where the settings need one that is not set there, the Airflow connection of that name
is looked up and put into the task's own process, and nowhere else:

    pinnersage_redis    REDIS_URL
    pinnersage_qdrant   QDRANT_URL, QDRANT_API_KEY (the connection's password)
    pinnersage_lake     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (login and password),
                        AWS_ENDPOINT_URL, AWS_DEFAULT_REGION (extra: endpoint_url, region_name)
"""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from pinnersage.config import Settings


def to_environment(settings: "Settings") -> None:
    """Set what the settings need and the environment lacks; what is set there already wins."""
    if settings.keyvalue.store == "redis" and not settings.keyvalue.url:
        _provide("pinnersage_redis", "REDIS_URL", redis)
    if settings.index.store == "qdrant" and not settings.index.location.startswith("path:"):
        _provide("pinnersage_qdrant", "QDRANT_API_KEY", qdrant)
    if settings.lake.root.startswith("s3://"):
        _provide("pinnersage_lake", "AWS_ACCESS_KEY_ID", aws)


def _provide(name: str, told_by: str, translate: Any) -> None:
    """Put a connection into the environment, unless ``told_by`` says that it is there."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret

    if told_by in os.environ:
        return
    try:
        connection = Connection.get(name)
    except AirflowNotFoundException:
        return  # a store that needs one and has none says so itself
    if connection.password:
        mask_secret(connection.password)
        mask_secret(quote(connection.password, safe=""))
    for variable, value in translate(connection).items():
        if value:
            os.environ.setdefault(variable, value)


def redis(connection: Any) -> dict[str, str]:
    """Return the URL of a Redis; user, password and names are escaped."""
    extra = connection.extra_dejson
    who = quote(connection.login or "", safe="")
    if connection.password:
        who += ":" + quote(connection.password, safe="")
    scheme = "rediss" if extra.get("ssl") or connection.conn_type == "rediss" else "redis"
    where = f"{connection.host}:{connection.port or 6379}"
    database = extra.get("db", connection.schema) or 0
    return {"REDIS_URL": f"{scheme}://{who}@{where}/{database}".replace("://@", "://")}


def qdrant(connection: Any) -> dict[str, str]:
    """Return the URL of a Qdrant server, and its key."""
    host = connection.host or ""
    if "://" not in host:
        scheme = "https" if "https" in (connection.schema, connection.conn_type) else "http"
        host = f"{scheme}://{host}"
    port = f":{connection.port}" if connection.port else ""
    return {"QDRANT_URL": host + port, "QDRANT_API_KEY": connection.password or ""}


def aws(connection: Any) -> dict[str, str]:
    """Return credentials, endpoint and region of an object store."""
    extra = connection.extra_dejson
    return {
        "AWS_ACCESS_KEY_ID": connection.login or "",
        "AWS_SECRET_ACCESS_KEY": connection.password or "",
        "AWS_SESSION_TOKEN": extra.get("aws_session_token", ""),
        "AWS_ENDPOINT_URL": extra.get("endpoint_url", ""),
        "AWS_DEFAULT_REGION": extra.get("region_name", ""),
    }
