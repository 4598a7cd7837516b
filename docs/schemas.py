"""Write the JSON schemas of `report.json` and `manifest.json`, and the page that lists their fields.

Run it when a model changes: `python docs/schemas.py`. A test compares the files with the models.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from specter_jobs.output.report_model.manifest import NightManifest
from specter_jobs.output.report_model.report import NightReport

DOCS = Path(__file__).parent
MODELS: dict[str, type[BaseModel]] = {"report.json": NightReport, "manifest.json": NightManifest}
PAGE = "report-fields.md"
INTRODUCTION = """# Fields of `report.json` and `manifest.json`

For programmers who read the reports of a night. The page is generated from the classes that write and read the files.
There are also JSON schemas: [`report.schema.json`](report.schema.json) and
[`manifest.schema.json`](manifest.schema.json).

A field of type `… or null` is always present and may be null. If a field can be absent, its description mentions it.
"""


def files() -> dict[str, str]:
    """Return the content of every file that this module writes, by its name."""
    schemas = {name: schema_of(kind) for name, kind in MODELS.items()}
    written = {
        name.replace(".json", ".schema.json"): json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    return written | {PAGE: page_of(schemas)}


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model, in which each field has the description of its class's docstring."""
    schema = kind.model_json_schema(mode="serialization")
    models = {model.__name__: model for model in models_in(kind)}
    for name, part in {kind.__name__: schema, **schema.get("$defs", {})}.items():
        if name not in models:  # any JSON value
            continue
        about, fields = described(models[name])
        part["description"] = about
        aliases = {field.serialization_alias or key: key for key, field in models[name].model_fields.items()}
        for key, value in part["properties"].items():
            value.pop("title", None)
            value["description"] = fields[aliases[key]]
    return schema


def models_in(kind: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and all models in its fields."""
    found = [kind]
    for field in kind.model_fields.values():
        for inner in _models_of(field.annotation):
            found += [model for model in models_in(inner) if model not in found]
    return found


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_of(inner)]


def described(kind: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return the first paragraph of a model's docstring, and the description of each field of it and its bases."""
    fields: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, _, attributes = (inspect.cleandoc(base.__doc__ or "")).partition("Attributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, flags=re.MULTILINE):
            fields[name] = re.sub(r"\bNone\b", "null", " ".join(text.split()))
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " "), fields


def page_of(schemas: dict[str, dict[str, Any]]) -> str:
    """Return the page that lists the fields of each file, and below it those of its parts."""
    lines = [INTRODUCTION]
    shown: set[str] = set()
    for file, schema in schemas.items():
        lines += [f"## `{file}`\n", *_table(schema)]
        for name, part in schema.get("$defs", {}).items():
            if name not in shown and "properties" in part:
                lines += [f"### {name}\n", f"{part['description']}\n", *_table(part)]
                shown.add(name)
    return "\n".join(lines)


def _table(part: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(value)} | {value['description'].replace('|', chr(92) + '|')} |"
        for name, value in part["properties"].items()
    ]
    return ["| field | type | what it is |", "|---|---|---|", *rows, ""]


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if name == "JsonValue":
            return "any value"
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(one) for one in value["anyOf"]))
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    return str(value.get("type", "any value"))


if __name__ == "__main__":
    for name, content in files().items():
        (DOCS / name).write_text(content, encoding="utf-8")
