"""What may come in through Cargo.lock, as deny.toml has it: licences, bans,
wildcards and sources. cargo-deny knows more, where it is installed; this needs
Python 3.11 and cargo, so that the policy is held everywhere.

    tests/dependencies.py             holds this repository against deny.toml
    tests/dependencies.py --self-test holds made-up ones against it

Neither looks for advisories or yanked versions: their lists are not in here.
"""

import json
import re
import subprocess
import sys
import tomllib


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    with open("deny.toml", "rb") as file:
        policy = tomllib.load(file)
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)
    wrong = sources(policy, lock["package"])
    for target in policy["graph"]["targets"]:
        of_target = ["--locked", "--format-version", "1", "--filter-platform", target]
        graph = json.loads(cargo("metadata", *of_target))
        wrong += licences(policy, graph) + bans(policy, graph) + wildcards(graph)
        only_ours = ["--locked", "--package", "runtrail", "--target", target, "--edges", "normal,build"]
        tree = cargo("tree", *only_ours, "--prefix", "none", "--format", "{p}")
        wrong += shipped(policy, {line.split(" ")[0] for line in tree.splitlines() if line})
    for sentence in sorted(set(wrong)):
        print(sentence)
    names = [package["name"] for package in lock["package"]]
    twice = {name for name in names if names.count(name) > 1}
    print(f"{len(names)} packages, {len(twice)} of them in several versions")
    return 1 if wrong else 0


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def licences(policy, graph):
    allowed = set(policy["licenses"]["allow"])
    wrong = []
    for package in graph["packages"]:
        given = package.get("license")
        if not given or not is_allowed(given, allowed):
            wrong.append(f"the licence of {package['name']} is not in deny.toml: {given or 'none'}")
    return wrong


def is_allowed(expression, allowed):
    """Whether what is allowed satisfies an SPDX expression. A slash is an OR, as
    it was written once; an exception is part of the licence that it is to."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while words and words[0] == "OR":
            words.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while words and words[0] == "AND":
            words.pop(0)
            value = one() and value
        return value

    def one():
        word = words.pop(0) if words else ""
        if word == "(":
            value = either()
            return value if words and words.pop(0) == ")" else False
        if words and words[0] == "WITH":
            word = " ".join([word, words.pop(0), words.pop(0) if words else ""])
        return word in allowed

    return either() and not words


def denied(policy):
    for entry in policy["bans"].get("deny", []):
        yield entry.get("crate") or entry["name"], set(entry.get("wrappers", []))


def bans(policy, graph):
    """What is denied may stand behind its wrappers, and nowhere else."""
    names = {package["id"]: package["name"] for package in graph["packages"]}
    wrong = []
    for name, wrappers in denied(policy):
        for node in graph["resolve"]["nodes"]:
            behind = {names[dependency] for dependency in node["dependencies"]}
            if name in behind and names[node["id"]] not in wrappers:
                wrong.append(f"{names[node['id']]} brings {name}, which deny.toml bans")
    return wrong


def shipped(policy, names):
    """In the program itself there is nothing that is denied, wrapped or not."""
    return [
        f"the program holds {name}, which deny.toml bans"
        for name, _ in denied(policy)
        if name in names
    ]


def wildcards(graph):
    members = set(graph["workspace_members"])
    return [
        f"{package['name']} takes any version of {dependency['name']}"
        for package in graph["packages"]
        if package["id"] in members
        for dependency in package["dependencies"]
        if dependency["req"] == "*" and not dependency.get("path")
    ]


def sources(policy, packages):
    allowed = {f"registry+{address}" for address in policy["sources"]["allow-registry"]}
    wrong = []
    for package in packages:
        source = package.get("source")
        if source is None:
            continue
        if source not in allowed:
            wrong.append(f"{package['name']} comes from {source}")
        elif not package.get("checksum"):
            wrong.append(f"{package['name']} has no checksum in Cargo.lock")
    return wrong


def self_test():
    registry = "https://index.test"
    policy = {
        "licenses": {"allow": ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]},
        "bans": {"deny": [{"crate": "evil"}, {"crate": "odd", "wrappers": ["wrapper"]}]},
        "sources": {"allow-registry": [registry]},
    }
    for expression, fits in {
        "MIT": True,
        "GPL-3.0": False,
        "MIT OR GPL-3.0": True,
        "GPL-3.0/MIT": True,
        "MIT AND GPL-3.0": False,
        "MIT AND (GPL-3.0 OR ISC)": True,
        "(MIT OR ISC) AND GPL-3.0": False,
        "GPL-3.0 OR MIT AND ISC": True,
        "Apache-2.0 WITH LLVM-exception": True,
        "Apache-2.0": False,
        "(MIT": False,
        "MIT ISC": False,
        "": False,
    }.items():
        assert is_allowed(expression, set(policy["licenses"]["allow"])) is fits, expression

    def package(name, licence="MIT", needs=()):
        needs = [{"name": need, "req": req, "path": path} for need, req, path in needs]
        return {"name": name, "id": name, "license": licence, "dependencies": needs}

    def graph(edges):
        nodes = [{"id": name, "dependencies": behind} for name, behind in edges.items()]
        packages = [package(name) for name in edges]
        return {"packages": packages, "resolve": {"nodes": nodes}, "workspace_members": ["a"]}

    assert licences(policy, {"packages": [package("a"), package("b", "ISC OR X")]}) == []
    assert len(licences(policy, {"packages": [package("a", None), package("b", "X")]})) == 2
    assert bans(policy, graph({"a": ["wrapper"], "wrapper": ["odd"], "odd": []})) == []
    assert len(bans(policy, graph({"a": ["odd", "b"], "b": ["evil"], "odd": [], "evil": []}))) == 2
    assert shipped(policy, {"a", "wrapper"}) == []
    assert len(shipped(policy, {"a", "wrapper", "odd"})) == 1
    fine = package("a", needs=[("b", "^1", None), ("c", "*", "../c")])
    assert wildcards({"packages": [fine], "workspace_members": ["a"]}) == []
    open_to_any = package("a", needs=[("b", "*", None)])
    assert len(wildcards({"packages": [open_to_any], "workspace_members": ["a"]})) == 1
    assert wildcards({"packages": [open_to_any], "workspace_members": []}) == []
    ours = {"name": "a"}
    good = {"name": "b", "source": f"registry+{registry}", "checksum": "1"}
    git = {"name": "c", "source": "git+https://index.test"}
    bare = {"name": "d", "source": f"registry+{registry}"}
    assert sources(policy, [ours, good]) == []
    assert len(sources(policy, [ours, good, git, bare])) == 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
