"""Writes crates/danlu-tune/tests/schemas/job-batch-v1.json: the JSON schema of Kubernetes' batch/v1 Job, whole, in one file.

    python golden/tune/make_job_schema.py FOLDER

FOLDER is a `vX.Y.Z-local-strict` of github.com/yannh/kubernetes-json-schema (also inside the PyPI package `kubernetes-validate`), which is made
from Kubernetes' own OpenAPI description. Descriptions are left out; unknown fields are refused, as `kubectl --validate=strict` does.
"""
import json, sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
OUT = Path(__file__).resolve().parents[2] / "crates/danlu-tune/tests/schemas/job-batch-v1.json"
defs = {}


known = json.loads((FOLDER / "_definitions.json").read_text())
known = known.get("$defs") or known["definitions"]


def load(name):
    if name not in defs:
        defs[name] = None
        defs[name] = clean(known[name], False)
    return name


def clean(node, names):
    """`names`: the keys are names of fields, not words of the schema."""
    if isinstance(node, list):
        return [clean(n, False) for n in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and not names:
        return {"$ref": "#/$defs/" + load(node["$ref"].split("/")[-1])}
    skip = lambda k: not names and (k in ("description", "$schema") or k.startswith("x-kubernetes"))
    return {k: clean(v, k == "properties") for k, v in node.items() if not skip(k)}


root = clean(json.loads((FOLDER / "job-batch-v1.json").read_text()), False)
root = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"batch/v1 Job, Kubernetes {FOLDER.name.split('-')[0]}", **root}
root["$defs"] = dict(sorted(defs.items()))
OUT.parent.mkdir(exist_ok=True)
OUT.write_text(json.dumps(root, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size, "bytes,", len(defs), "definitions")
