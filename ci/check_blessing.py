"""The judging half of `ci/check-blessing`: the reasons of goldens and baselines that changed since a revision."""

import json
import os
import subprocess
import sys

FOLDERS = ("snapshots", "baselines")


def git(*arguments):
    return subprocess.run(("git", *arguments), check=True, capture_output=True).stdout


def changed(base):
    """Paths below the folders that differ between `base` and the work tree, new files included."""
    listed = git("diff", "--name-only", "--no-renames", "-z", base, "--", *FOLDERS)
    listed += git("ls-files", "--others", "--exclude-standard", "-z", "--", *FOLDERS)
    return sorted({name.decode() for name in listed.split(b"\0") if name})


def before(base, path):
    """The bytes of `path` in `base`, or None where it was not there."""
    answer = subprocess.run(("git", "cat-file", "blob", f"{base}:{path}"), capture_output=True)
    return answer.stdout if answer.returncode == 0 else None


def judge_golden(path, now, old):
    if now is None:
        return ["is gone; a golden is replaced by `trtgate bless --reason`, not removed"]

    try:
        header = golden_header(now)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return [f"is no golden: {error!r}"]
    if not str(header.get("reason") or "").strip():
        return ["states no `reason` in its header"]
    if old is not None:
        try:
            created = golden_header(old).get("created")
        except (ValueError, KeyError, TypeError, IndexError):
            created = None
        if created is not None and created == header.get("created"):
            return ["changed, but its `created` and `reason` are those of the earlier blessing"]
    return []


def golden_header(content):
    """What a golden says about itself: lines of text in version 1, a document within safetensors from version 2 on."""
    if content.startswith(b"trtgate.golden/v1\n"):
        head = content.decode("utf-8", "replace").split("\n\n", 1)[0]
        return dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    return json.loads(metadata["trtgate.golden"])


def judges_nothing(old):
    """Whether no run is compared with any entry: processors are told apart by their instruction set, and none names its own."""
    try:
        environments = [entry["environment"] for entry in json.loads(old)["entries"]]
    except (ValueError, KeyError, TypeError):
        return False
    return all("cpu" in environment and "instruction-set" not in environment for environment in environments)


def judge_baseline(path, now, old):
    if now is None:
        if judges_nothing(old):
            return []
        return ["is gone; a baseline is appended to, not removed"]
    try:
        entries = json.loads(now)["entries"]
        earlier = json.loads(old)["entries"] if old is not None else []
    except (ValueError, KeyError, TypeError) as error:
        return [f"is no series of entries: {error!r}"]
    problems = []
    if entries[: len(earlier)] != earlier:
        problems.append("changes or removes entries that were accepted earlier")
    for number, entry in enumerate(entries[len(earlier):], start=len(earlier) + 1):
        if not isinstance(entry, dict) or not str(entry.get("reason") or "").strip():
            problems.append(f"has no `reason` in entry {number}")
    return problems


def main():
    base = sys.argv[1]
    failed = False
    for path in changed(base):
        now = None
        if os.path.isfile(path):
            with open(path, "rb") as file:
                now = file.read()
        judges = {"snapshots": judge_golden, "baselines": judge_baseline}
        if os.path.basename(path) == "README.md":
            continue
        for problem in judges[path.split("/", 1)[0]](path, now, before(base, path)):
            print(f"check-blessing: `{path}` {problem}", file=sys.stderr)
            failed = True
    if failed:
        print("hint: accept an intended change with `trtgate bless --reason TEXT`", file=sys.stderr)
        sys.exit(1)


main()
