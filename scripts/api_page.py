"""API page: the service's OpenAPI document as tables, for people."""

import json
from typing import Any

Field = tuple[str, bool, dict[str, Any]]
"""Name, whether it must be there, and schema."""
INSIDE = (
    "Candidate", "Cluster", "Event", "Online", "Recommended", "RefusedEvent", "SimilarPin",
    "UserFeatures",
)  # fmt: skip
"""What stands inside questions and answers."""


def lines(document: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    schemas = document["components"]["schemas"]
    text = [
        "The same as a running service says at `/openapi.json`. How to start it, keys and limits:",
        "[serve](how-to/serve.md). Every route but the probes takes `Authorization: Bearer KEY`.",
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            text += ["", f"## {method.upper()} {path}", "", route["description"], ""]
            text += fields("In the query", query_of(route), schemas)
            if body := route.get("requestBody"):
                text += fields("In the body, JSON", properties(body["content"], schemas), schemas)
            answers = dict(route["responses"])
            found = properties(answers.pop("200").get("content", {}), schemas)
            text += fields("Answer", found, schemas)
            text += [f"- **{status}** {one['description']}" for status, one in answers.items()]
    text += ["", "## Parts"]
    for name in sorted(set(INSIDE).intersection(schemas)):
        text += ["", f"### {name}", "", schemas[name]["description"], ""]
        text += fields("", named(schemas[name]), schemas)
    return text


def query_of(route: dict[str, Any]) -> list[Field]:
    """Return name, whether it must be there, and schema of what a route takes in its query."""
    return [
        (one["name"], one["required"], one["schema"] | {"description": one.get("description", "")})
        for one in route.get("parameters", [])
    ]


def properties(content: dict[str, Any], schemas: dict[str, Any]) -> list[Field]:
    """Return the fields of a body; none for one that is no JSON object."""
    schema = content.get("application/json", {}).get("schema", {})
    return named(schemas[schema["$ref"].rsplit("/", 1)[1]]) if "$ref" in schema else []


def named(schema: dict[str, Any]) -> list[Field]:
    """Return the fields of an object."""
    must = schema.get("required", [])
    return [(name, name in must, one) for name, one in schema.get("properties", {}).items()]


def fields(title: str, found: list[Field], schemas: dict[str, Any]) -> list[str]:
    """Return a table of fields."""
    if not found:
        return []
    lines = [f"{title}:", ""] if title else []
    lines += ["| field | type | | |", "|---|---|---|---|"]
    for name, must, schema in found:
        default = "" if must else f"`{json.dumps(schema.get('default'))}`"
        cells = (f"`{name}`", typed(schema, schemas), default, schema.get("description", ""))
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return [*lines, ""]


def typed(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "anyOf" in schema:
        parts = [typed(one, schemas) for one in schema["anyOf"]]
        return " or ".join(dict.fromkeys(parts))
    if "$ref" in schema:
        return f"[{(name := schema['$ref'].rsplit('/', 1)[1])}](#{name.lower()})"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {typed(schema['items'], schemas)}"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = schema.get("format") or schema.get("type", "anything")
    signs = {"minimum": "≥", "maximum": "≤", "minLength": "length ≥", "maxLength": "length ≤"}
    bounds = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema]
    return ", ".join([words.get(kind, kind), *bounds])
