"""Writes schemas/*.json, the JSON Schemas of what trtgate stores, from the Rust types that read and write it.

python3 tools/schemas/generate.py [--check]

A schema says what a program may rely on: `additionalProperties` stays open where keys may be added, and is closed where an unknown
key is an error (manifest, golden, baseline). Descriptions are the types' own comments; those of the manifest's keys stand in
docs/manifest.md. A type that is read by code of its own is written down in CUSTOM.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {"type": ["number", "null"], "description": "null where it is not finite"}
TEXT = {"type": "string"}

# Types with a form of their own in JSON.
CUSTOM = {
    "String": TEXT,
    "PathBuf": TEXT,
    "bool": {"type": "boolean"},
    "f64": NUMBER,
    "f32": NUMBER,
    "i64": {"type": "integer"},
    "RuntimeId": {"type": "string", "description": "`onnxruntime`, or with a version `tensorrt@8.5.3`"},
    "ShapePoint": {"type": "string", "description": "sizes by name, `height=480,width=640`"},
    "InstructionSet": {"type": "string", "description": "`avx512+avx512-vnni`"},
    "RawBatchAxis": {"type": ["integer", "boolean", "string"]},
    "Layout": {"enum": ["nhwc", "nchw", "flat"]},
}
UNSIGNED = {"type": "integer", "minimum": 0}
CUSTOM |= {name: UNSIGNED for name in ("usize", "u8", "u32", "u64")}
# Read by code of their own, which says more than a schema can.
OPEN = {"RawValues", "RawLengthOf", "Value", "NaturalLeads", "Environment", "TimingContract"}


def kebab(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()


def cased(name, rule):
    if rule == "kebab-case":
        return kebab(name)
    return name.lower() if rule == "lowercase" else name


class Types:
    """The structs and enums of some files."""

    def __init__(self, *files):
        self.items = {}
        self.aliases = {}
        self.defined = {}
        for file in files:
            self.read((ROOT / "src" / file).read_text().split("#[cfg(test)]\nmod tests {")[0])

    def read(self, text):
        for found in re.finditer(r"names!\((\w+), \"[^\"]*\", (.*?)\);", text, re.S):
            self.items[found[1]] = ("names", re.findall(r'=> "([^"]+)"', found[2]), {}, "")
        self.aliases |= dict(re.findall(r"^(?:pub(?:\([a-z]+\))? )?type (\w+) = (.*?);$", text, re.M | re.S))
        pattern = r"((?:[ \t]*///[^\n]*\n)*)((?:[ \t]*#\[[^\n]*\]\n)*)[ \t]*(?:pub(?:\([a-z]+\))? )?(struct|enum) (\w+)(<[^>{]*>)? \{\n(.*?)\n\}"
        for found in re.finditer(pattern, text, re.S):
            docs, attributes, kind, name, _, body = found.groups()
            if "Serialize" in attributes or "Deserialize" in attributes:
                serde = ",".join(re.findall(r"#\[serde\((.*?)\)\]", attributes))
                self.items.setdefault(name, (kind, body, serde, comment(docs)))

    def reference(self, name):
        if name not in self.defined:
            self.defined[name] = {}
            self.defined[name] = self.define(name)
        return {"$ref": f"#/$defs/{name}"}

    def define(self, name):
        kind, body, serde, docs = self.items[name]
        if kind == "names":
            return {"enum": body}
        rule = next(iter(re.findall(r'rename_all = "([^"]+)"', serde)), None)
        if kind == "enum":
            return self.enumeration(body, serde, rule, docs)
        return self.structure(body, serde, rule, docs)

    def enumeration(self, body, serde, rule, docs):
        tag = next(iter(re.findall(r'tag = "([^"]+)"', serde)), None)
        variants = re.findall(r"^    (\w+)(?:\(([^)]*)\)|\s*\{.*?\n    \})?,?$", body, re.M | re.S)
        described = {"description": docs} if docs else {}
        if "untagged" in serde and variants and all(of and "," not in of for _, of in variants):
            return described | {"anyOf": [self.form(of) for _, of in variants]}
        if tag or "untagged" in serde or any(of for _, of in variants) or "{" in body:
            if tag:
                return described | {"type": "object", "required": [tag]}
            return described | {}
        return described | {"enum": [cased(name, rule) for name, _ in variants]}

    def structure(self, body, serde, rule, docs):
        properties, required = {}, []
        whole = "default" in re.sub(r"deny_unknown_fields|rename_all = \"[^\"]*\"", "", serde)
        for field in re.finditer(r"((?:    ///[^\n]*\n)*)((?:    #\[[^\n]*\]\n)*)    (?:pub(?:\([a-z]+\))? )?(\w+): (.*?),\n", body + "\n", re.S):
            lines, attributes, name, form = field.groups()
            if "serde(skip)" in attributes:
                continue
            shown = self.form(form)
            if comment(lines):
                shown = shown | {"description": comment(lines)} if "$ref" not in shown else {"description": comment(lines), "allOf": [shown]}
            properties[cased(name, rule)] = shown
            if "default" not in attributes and not form.startswith("Option<") and not whole:
                required.append(cased(name, rule))
        schema = {"type": "object", "properties": properties}
        if docs:
            schema["description"] = docs
        if required:
            schema["required"] = required
        if "deny_unknown_fields" in serde:
            schema["additionalProperties"] = False
        return schema

    def form(self, form):
        form = form.strip()
        outer = re.fullmatch(r"(?:\w+::)*(\w+)<(.*)>", form, re.S)
        if outer:
            name, inner = outer.groups()
            if name in ("Spanned", "Box"):
                return self.form(inner)
            if name == "Option":
                inner = self.form(inner)
                if isinstance(inner.get("type"), str):
                    return inner | {"type": [inner["type"], "null"]}
                return inner if "null" in inner.get("type", []) else {"anyOf": [inner, {"type": "null"}]}
            if name in ("Vec", "BTreeSet"):
                return {"type": "array", "items": self.form(inner)}
            if name == "BTreeMap":
                return {"type": "object", "additionalProperties": self.form(parts(inner)[1])}
        if form.startswith("("):
            items = [self.form(part) for part in parts(form[1:-1])]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        array = re.fullmatch(r"\[(.*); (\d+)\]", form)
        if array:
            count = int(array[2])
            return {"type": "array", "items": self.form(array[1]), "minItems": count, "maxItems": count}
        name = form.split("::")[-1]
        if name in CUSTOM:
            return dict(CUSTOM[name])
        if name in self.aliases and name not in OPEN:
            return self.form(self.aliases[name])
        if name in OPEN or name not in self.items:
            return {}
        return self.reference(name)


def parts(text):
    found, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += letter in "<([" and 1 or letter in ">)]" and -1 or 0
        if letter == "," and depth == 0:
            found.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*found, text[start:]] if part.strip()]


def comment(lines):
    text = " ".join(line.strip().removeprefix("///").strip() for line in lines.splitlines())
    return re.sub(r"\[`([^`]+)`\](?:\([^)]*\))?", r"`\1`", text).strip()


def whole(types, name, title, described, version):
    root = types.define(name)
    if version and "schema" in root["properties"]:
        root["properties"]["schema"] = {"const": version, "description": "The schema's name."}
    schema = {"$schema": DIALECT, "$id": f"urn:{title.replace('/', ':')}", "title": title, "description": described} | root
    schema["description"] = described
    if types.defined:
        schema["$defs"] = dict(sorted(types.defined.items()))
    return schema


def sections(schema):
    """The descriptions of the manifest's keys, from the tables of docs/manifest.md."""
    section, rows, says = "", {}, 1
    for line in (ROOT / "docs/manifest.md").read_text().splitlines():
        title = re.match(r"#+ .*?`\[+([a-z-]+)", line)
        if title:
            section = title[1]
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and "key" in cells[0]:
            # The longest column that is no default says what a key is for.
            says = next((place for place, head in enumerate(cells) if place and "default" not in head), 1)
        row = re.match(r"`([a-z0-9-]+)`(?:, `[a-z0-9-]+`)*$", cells[0]) if cells else None
        if row and says < len(cells):
            # What stands elsewhere on the page, an editor does not show.
            text = re.sub(r",? \(?\[(?:below|above)\]\([^)]*\)\)?", "", cells[says])
            rows.setdefault((section, row[1]), re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text))
    for name, of in schema["properties"].items():
        target = of
        while "$ref" in target or "allOf" in target or "anyOf" in target:
            target = (target.get("allOf") or target.get("anyOf") or [target])[0]
            if "$ref" in target:
                target = schema["$defs"][target["$ref"].split("/")[-1]]
        for key, form in target.get("properties", {}).items():
            text = rows.get((name, key))
            if text and "description" not in form:
                if "$ref" in form:
                    target["properties"][key] = {"description": text, "allOf": [form]}
                else:
                    form["description"] = text


def manifest():
    names = ["raw", "artifacts", "engines", "serve", "shapes", "shapes/profiles", "interface", "tasks", "review", "engine", "mod"]
    types = Types("vocabulary.rs", "vocabulary/task.rs", *(f"manifest/{name}.rs" for name in names))
    kind, body, serde, docs = types.items["Raw"]
    body = body.replace("input: I", "input: RawInput").replace("output: O", "output: RawOutput")
    types.items["Raw"] = (kind, body, serde, docs)
    schema = whole(types, "Raw", "trtgate.manifest/v1", "gate.toml: what trtgate gates, with what data, on which runtimes, within which bounds.", None)
    schema["properties"]["schema"] = {"const": 1, "description": "The manifest's schema."}
    several = {"input": "RawFedInput", "output": "RawTask"}
    for name, raw in several.items():
        one, many = schema["properties"][name], types.reference(raw)
        schema["properties"][name] = {"oneOf": [one, {"type": "array", "items": many, "minItems": 1}]}
    # Which keys there are is code: a form of one's own each, and engines by precision.
    code = (ROOT / "src/manifest/artifacts.rs").read_text().split("pub const fn precision")[0]
    file, precisions = types.form("RawFile"), types.items["Precision"][1]
    engines = {"type": "object", "properties": {name: file for name in precisions}, "additionalProperties": False}
    own = {name: file for name in re.findall(r'Self::\w+ => "([a-z0-9-]+)"', code)} | {"engine": engines}
    assert len(own) == 5, own
    types.defined.pop("RawOwn")
    schema["properties"]["artifacts"] = {"type": "object", "properties": own, "additionalProperties": False}
    for name in ("probes", "calibration", "matrix", "engine", "shapes"):
        assert name in schema["properties"], name
    # `[matrix.runtimes]` takes any library's precisions, by name.
    schema["$defs"] = dict(sorted(types.defined.items()))
    # What is written in TOML is never null.
    sections(schema)
    return without_null(schema)


def without_null(node):
    if isinstance(node, dict):
        if isinstance(node.get("type"), list):
            kept = [kind for kind in node["type"] if kind != "null"]
            node["type"] = kept[0] if len(kept) == 1 else kept
        if node.get("description") == NUMBER["description"]:
            del node["description"]
        if "anyOf" in node and {"type": "null"} in node["anyOf"]:
            rest = [one for one in node.pop("anyOf") if one != {"type": "null"}]
            node |= rest[0] if "description" not in node else {"allOf": rest}
        return {key: without_null(value) for key, value in node.items()}
    return [without_null(value) for value in node] if isinstance(node, list) else node


def schemas():
    findings = sorted(path.name for path in (ROOT / "src/findings").glob("*.rs"))
    findings = ["findings.rs", *(f"findings/{name}" for name in findings), "timing/summary.rs", "timing/transfers.rs"]
    vocabulary = ["vocabulary.rs", "vocabulary/task.rs"]
    yield "report", whole(Types(*findings, *vocabulary), "Report", "trtgate.report/v1", "One run of the gate. Keys may be added, never renamed.", "trtgate.report/v1")
    yield "blessing", whole(Types("findings/blessing.rs", *vocabulary), "BlessingReport", "trtgate.blessing/v1", "What a blessing changes, for its reviewer. Keys may be added, never renamed.", "trtgate.blessing/v1")
    yield "plan", whole(Types("report/plan_file.rs", *vocabulary), "PlanFile", "trtgate.plan/v1", "The planned cells of one model. Keys may be added, never renamed.", "trtgate.plan/v1")
    golden = Types("check/golden/binary.rs", "check/golden/probes.rs", "manifest/mod.rs", *vocabulary)
    yield "golden", whole(golden, "Document", "trtgate.golden/v2", "The JSON document in the metadata of a golden, a safetensors file, under the key `trtgate.golden`.", "trtgate.golden/v2")
    yield "baseline", whole(Types("measure/baseline.rs", *vocabulary), "Series", "trtgate.baseline/v1", "All accepted runs of one cell and mode on one device; appended to, never overwritten.", "trtgate.baseline/v1")
    yield "manifest", manifest()


def main():
    stale = False
    for name, schema in schemas():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        path = ROOT / "schemas" / f"{name}.json"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"schemas: `schemas/{name}.json` is not what the types say; run tools/schemas/generate.py", file=sys.stderr)
            stale = True
    sys.exit(stale)


main()
