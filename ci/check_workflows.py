"""The rules of workflows that no linter knows.

- Every action is pinned by a full commit, and a checkout leaves no credentials behind.
- The workflow's token has no permission; each job states its own, and a time limit.
- Nothing runs with secrets on what a fork sends: no `pull_request_target`, no `workflow_run`.
- A job on a self-hosted runner, or one that names a secret, keeps forks out by its own `if`.
- No expression stands in a shell line: whatever a person can word comes by `env`.
"""

import re
import sys

from ruamel.yaml import YAML

OWN = "github.event.pull_request.head.repo.full_name == github.repository"


def judge(path):
    with open(path) as file:
        workflow = YAML(typ="safe").load(file)
    # YAML 1.1 reads the key `on` as true.
    triggers = workflow.get("on", workflow.get(True)) or {}
    for trigger in ("pull_request_target", "workflow_run"):
        if trigger in triggers:
            yield f"`{trigger}` runs with secrets on what a fork sends"
    if workflow.get("permissions") != {}:
        yield "does not state `permissions: {}` for the whole workflow"
    for name, job in (workflow.get("jobs") or {}).items():
        if "permissions" not in job:
            yield f"job `{name}` does not state its permissions"
        if "timeout-minutes" not in job:
            yield f"job `{name}` has no time limit"
        guarded = OWN in str(job.get("if", ""))
        if "self-hosted" in str(job.get("runs-on", "")) and not guarded:
            yield f"job `{name}` sends forks' code to a self-hosted runner; guard it by `{OWN}`"
        if "secrets." in str(job) and not guarded:
            yield f"job `{name}` names a secret and is open to forks; guard it by `{OWN}`"
        for step in [job, *(job.get("steps") or [])]:
            action = step.get("uses", "")
            if action and not action.startswith("./") and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action):
                yield f"job `{name}` uses `{action}`, which is not pinned by commit"
            keeps = (step.get("with") or {}).get("persist-credentials", True)
            if action.startswith("actions/checkout@") and keeps is not False:
                yield f"job `{name}` checks out without `persist-credentials: false`"
            if "${{" in str(step.get("run", "")):
                yield f"job `{name}` has an expression in a shell line; pass it by `env`"


def main():
    failed = False
    for path in sys.argv[1:]:
        for problem in judge(path):
            print(f"check-workflows: `{path}` {problem}", file=sys.stderr)
            failed = True
    sys.exit(failed)


main()
