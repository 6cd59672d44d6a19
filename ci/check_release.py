"""What `ci/check-release` holds a release to beside running it: python check_release.py FOLDER METADATA; prints the version."""

import hashlib
import json
import os
import pathlib
import sys
import tarfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release_parts import built_in

TARGET = "x86_64-unknown-linux-gnu"


def hold(condition, what):
    if not condition:
        sys.exit(f"check-release: {what}")


def filled(template, **values):
    """A template of binstall with its keys replaced; it knows no other."""
    for key, value in values.items():
        template = template.replace(f"{{ {key} }}", value)
    hold("{" not in template, f"binstall's template has a key that is not known: {template}")
    return template


def main(folder, metadata_file):
    metadata = json.loads(pathlib.Path(metadata_file).read_text())
    packages = {package["id"]: package for package in metadata["packages"]}
    root = packages[metadata["resolve"]["root"]]
    version = root["version"]

    # What `cargo binstall` would fetch, and the program in it.
    binstall = root["metadata"]["binstall"]
    repository = root["repository"] or "REPOSITORY"
    if "GITHUB_REPOSITORY" in os.environ:
        own = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
        hold(root["repository"] == own, f"`repository` of Cargo.toml is {root['repository']}, and this is {own}")
    values = {"repo": repository, "version": version, "name": root["name"], "target": TARGET}
    address = filled(binstall["pkg-url"], **values)
    hold(address.startswith(f"{repository}/releases/download/v{version}/"), f"no release has {address}")
    archive = folder / address.rsplit("/", 1)[1]
    hold(archive.is_file(), f"`cargo binstall` would ask for `{archive.name}`, which is not here")
    hold(binstall["pkg-fmt"] == "tgz", "the archive is packed otherwise than binstall is told")
    inside = filled(binstall["bin-dir"], **values, **{"bin": "trtgate", "binary-ext": ""})
    with tarfile.open(archive, "r:gz") as packed:
        hold(packed.getmember(inside).mode & 0o111, f"`{inside}` in the archive does not run")

    # The list of parts: valid by its schema, and every crate in it.
    text = (folder / f"trtgate-v{version}.cdx.json").read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    hold(error is None, f"the list of parts breaks its schema: {error}")
    listed = {(part["name"], part["version"]) for part in json.loads(text)["components"]}
    wanted = {(packages[i]["name"], packages[i]["version"]) for i in built_in(metadata)} - {(root["name"], version)}
    hold(listed == wanted and len(wanted) > 100, f"the list of parts differs: {listed ^ wanted}")
    hold(all("hashes" in part for part in json.loads(text)["components"]), "a part has no digest")

    # The statement: of these files, and no others.
    statement = json.loads((folder / f"trtgate-v{version}.intoto.json").read_text())
    told = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    own = {f"trtgate-v{version}.intoto.json", "SHA256SUMS"}
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name not in own}
    hold(told == found, f"the provenance is of other files: {set(told) ^ set(found) or 'their digests differ'}")
    print(version)


main(pathlib.Path(sys.argv[1]), sys.argv[2])
