"""Holds each rendered file against the policies of checkov, on its own: all variants
have the same names, and in one scan the NetworkPolicy of one would excuse the pod of
another. Then it shows that checkov notices what is broken."""

import sys
from pathlib import Path

from checkov.kubernetes.runner import Runner
from checkov.runner_filter import RunnerFilter

HERE = Path(__file__).resolve().parent

# Policies that are not ours, each with the reason.
NOT_OURS = [
    # No limit of CPU: throttled, runtrail falls behind a feed that it could follow.
    "CKV_K8S_11",
    # The image's tag is a version and never moves, so a node may keep it.
    "CKV_K8S_15",
    # The digest of an image is known after its release: image.digest, or `images` in
    # an overlay, is for whoever wants it pinned.
    "CKV_K8S_43",
    # Headers for a backend can only be given as a variable; the token of the server
    # is a file, which validate.py looks after.
    "CKV_K8S_35",
]
# What one file alone may fail, each with the reason.
EXCEPTIONS = {
    # It is the variant for clusters with policies of their own.
    ("helm-no-network-policy", "CKV2_K8S_6"),
    # The cluster chooses the user, and takes a high one.
    ("helm-openshift", "CKV_K8S_40"),
}
# What has to be noticed, and by which policy.
BROKEN = [
    (HERE / "broken/privileges.yaml", "CKV_K8S_20"),
    (HERE / "broken/writable.yaml", "CKV_K8S_22"),
    # A pod that no NetworkPolicy is for.
    (HERE / "broken/root.yaml", "CKV2_K8S_6"),
]


def main():
    files = sorted(Path(sys.argv[1]).glob("*.yaml"))
    passed, failed = 0, set()
    for path in files:
        report = scan(path)
        passed += len(report.passed_checks)
        failed |= {(path.stem, check.check_id, check.check_name) for check in report.failed_checks}
    faults = [
        f"{name}: {policy}: {what}"
        for name, policy, what in sorted(failed)
        if (name, policy) not in EXCEPTIONS
    ]
    found = {(name, policy) for name, policy, _ in failed}
    faults += [f"{name}: {policy} is excused, and holds" for name, policy in EXCEPTIONS - found]
    faults += [
        f"checkov takes {path.name}, against {policy}"
        for path, policy in BROKEN
        if policy not in {check.check_id for check in scan(path).failed_checks}
    ]
    if faults or not passed:
        sys.exit("\n".join(f"  {fault}" for fault in faults) or "checkov looked at nothing")
    print(f"  {passed} checks of {len(files)} files hold; excused: {len(EXCEPTIONS)}")


def scan(path):
    chosen = RunnerFilter(framework=["kubernetes"], skip_checks=NOT_OURS)
    report = Runner().run(None, files=[str(path)], runner_filter=chosen)
    if report.parsing_errors:
        sys.exit(f"checkov cannot read {path}")
    return report


if __name__ == "__main__":
    main()
