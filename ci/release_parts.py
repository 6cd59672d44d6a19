"""What a release says of itself: python release_parts.py sbom|provenance …, of `ci/release`.

    sbom METADATA LOCK            the crates in the program, as CycloneDX 1.6, from `cargo metadata` and Cargo.lock
    provenance FOLDER REVISION    which files of FOLDER were made of which revision, as an in-toto statement of SLSA provenance 1, not signed
"""

import datetime
import hashlib
import json
import os
import pathlib
import sys
import tomllib
import uuid

# Names of things, that nothing is fetched from.
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"


def moment():
    """The time of the source, so that the same source gives the same file."""
    return datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)


def built_in(metadata):
    """Packages by identity that are compiled into the program or run while it is built, each with those that it stands on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached, waiting = {}, [metadata["resolve"]["root"]]
    while waiting:
        identity = waiting.pop()
        if identity not in reached:
            kinds = nodes[identity]["deps"]
            reached[identity] = [d["pkg"] for d in kinds if any(k["kind"] in (None, "build") for k in d["dep_kinds"])]
            waiting += reached[identity]
    return reached


def sbom(metadata_file, lock_file):
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    metadata = json.loads(pathlib.Path(metadata_file).read_text())
    lock = tomllib.loads(pathlib.Path(lock_file).read_text())
    sums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    reached = built_in(metadata)
    root = metadata["resolve"]["root"]
    components = {}
    for identity in reached:
        package = packages[identity]
        name, version = package["name"], package["version"]
        checksum = sums[name, version]
        # Older crates part licences by a stroke, which means OR.
        terms = (package["license"] or "").replace("/", " OR ")
        components[identity] = Component(
            type=ComponentType.APPLICATION if identity == root else ComponentType.LIBRARY,
            name=name,
            version=version,
            bom_ref=f"{name}@{version}",
            purl=PackageURL("cargo", None, name, version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else None,
            licenses=[LicenseFactory().make_from_string(terms)] if terms else None,
        )
    bom = Bom(components=[part for identity, part in components.items() if identity != root])
    bom.metadata.component = components[root]
    bom.metadata.timestamp = moment()
    for identity, below in reached.items():
        bom.register_dependency(components[identity], [components[part] for part in below])
    inside = hashlib.sha256("\n".join(sorted(f"{c.name} {c.version}" for c in components.values())).encode()).hexdigest()
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, inside)
    print(JsonV1Dot6(bom).output_as_string(indent=2))


def provenance(folder, revision):
    def digest(path):
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    made = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file())
    job = [os.environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    builder = "{}/{}/actions/runs/{}".format(*job) if all(job) else "urn:trtgate:desk"
    source = "git+{}/{}".format(*job) if all(job) else "git+file:trtgate"
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": path.name, "digest": digest(path)} for path in made],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:trtgate:ci/release",
                "externalParameters": {"script": "ci/release"},
                "internalParameters": {"rustc": os.environ["RUSTC_VERSION"]},
                "resolvedDependencies": [
                    {"uri": source, "digest": {"gitCommit": revision}},
                    *({"uri": f"file:{name}", "digest": digest(pathlib.Path(name))} for name in LOCKS),
                ],
            },
            "runDetails": {"builder": {"id": builder}, "metadata": {"finishedOn": f"{moment():%Y-%m-%dT%H:%M:%SZ}"}},
        },
    }
    print(json.dumps(statement, indent=2))


LOCKS = ["Cargo.lock", "ci/requirements/wheel.txt", "ci/requirements/package.txt"]

if __name__ == "__main__":
    {"sbom": sbom, "provenance": provenance}[sys.argv[1]](*sys.argv[2:])
