"""Mutants of several parts in one program, each behind a switch: see `ci/mutants`.

A copy of the sources holds all of them (`tools/mutant-switches` writes it), is compiled once, and its unit tests run once a
mutant with `TRTGATE_MUTANT` set to its number. What the compiler refuses behind a switch is compiled in place, as
`cargo mutants` writes it: where that compiles, it is run from a program of its own.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

CARGO = ["--locked", "--offline"]
MEMORY = "/dev/shm"
# Seconds without a test that ends, until a mutant is one that never would.
LIMIT = 240.0
# A mutant that takes memory or disk without end is stopped, not the machine.
MOST_MEMORY, MOST_FILE = 12 << 30, 4 << 30
# What the compiler says of an expression's own words and types, whatever stands beside it: no such name, no such trait, method or
# operator of this type.
CERTAIN = {"E0277", "E0369", "E0412", "E0425", "E0433", "E0599", "E0600"}


class Tree:
    """A copy of the sources, and what is compiled of it."""

    def __init__(self, output):
        self.root = (output / "tree").resolve()
        # The sources as they are now, whatever is written into them while this runs.
        self.sources = output / "sources"
        shutil.rmtree(self.sources, ignore_errors=True)
        shutil.copytree("src", self.sources / "src")
        self.target = (output / "target").resolve()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
        self.names = [name for name in names if name and os.path.isfile(name)]
        for name in self.names:
            self.restore(name)
        # What a run before left there.
        for path in self.root.glob("src/**/*.rs"):
            if str(path.relative_to(self.root)) not in self.names:
                path.unlink()
        command = ["cargo", "build", *CARGO, "--example", "mutant-switches", "--message-format", "json"]
        built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.tool = executable(built, "mutant-switches")
        self.changed = set()

    def restore(self, name):
        """Makes a file what it is in the program; one that is the same keeps its time stamp, so that cargo takes it for built."""
        there = self.root / name
        own = self.sources / name if name.startswith("src/") else pathlib.Path(name)
        data = own.read_bytes()
        if not there.exists() or there.read_bytes() != data:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(data)
            there.chmod(own.stat().st_mode)

    def write(self, mutants, plain):
        """Writes mutants into the sources; where each stands, and those that no switch can express."""
        files = {mutant["file"] for mutant in mutants} | ({"src/lib.rs"} if not plain else set())
        for name in self.changed - files:
            self.restore(name)
        self.restore("src/lib.rs")
        self.changed = files
        task = {"from": str(self.sources), "to": str(self.root), "plain": plain, "mutants": mutants}
        done = subprocess.run([self.tool], input=json.dumps(task), check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def cargo(self, *command):
        """What cargo says, one message a line, and whether it succeeded."""
        environment = os.environ | {"CARGO_TARGET_DIR": str(self.target)}
        done = subprocess.run(
            ["cargo", *command, *CARGO, "--message-format", "json"],
            cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done

    def compile(self, mutants, plain, command):
        """Writes mutants and takes out those at which the compiler stumbles, until it compiles.

        Gives those left, what cargo said, and those that would not compile in place either.
        """
        left, certain = list(mutants), set()
        while True:
            done = self.write(left, plain)
            refused = {entry["number"] for entry in done["refused"]}
            said = self.cargo(*command)
            if said.returncode == 0:
                return [mutant for mutant in left if mutant["number"] not in refused], said.stdout, certain
            errors = [
                message["message"]
                for message in map(json.loads, said.stdout.splitlines())
                if message["reason"] == "compiler-message" and message["message"]["level"].startswith("error")
            ]
            blamed = refused
            for error in errors:
                numbers, inside = blame(error, done["written"])
                blamed = blamed | numbers
                if inside and (error["code"] or {}).get("code") in CERTAIN:
                    certain |= numbers
            if not blamed - refused:
                sys.exit(f"mutants: the sources do not compile, and no mutant is to blame:\n{said.stderr[-4000:]}")
            left = [mutant for mutant in left if mutant["number"] not in blamed]
            print(f"mutants: {len(blamed)} of {len(blamed) + len(left)} do not compile, so far", file=sys.stderr, flush=True)

    def build(self, mutants, plain=False):
        """Compiles the unit tests: the mutants in them, the program, and the mutants that compile in no way."""
        left, said, certain = self.compile(mutants, plain, ["test", "--lib", "--no-run"])
        return left, executable(said, "trtgate"), certain

    def in_place(self, mutants):
        """Those that compile as `cargo mutants` writes them: as many at once as are about different functions."""
        found, waiting = [], list(mutants)
        while waiting:
            now, taken = [], set()
            for mutant in waiting:
                function = mutant.get("function") or {"span": mutant["span"]}
                place = (mutant["file"], json.dumps(function["span"]))
                if place not in taken:
                    taken.add(place)
                    now.append(mutant)
            waiting = [mutant for mutant in waiting if mutant not in now]
            found += self.compile(now, True, ["check", "--lib", "--profile", "test"])[0]
        return found


def executable(said, name):
    """The program that cargo made, by its messages."""
    messages = [json.loads(line) for line in said.splitlines()]
    return next(
        message["executable"]
        for message in messages
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == name and message["executable"]
    )


def spans(message):
    """Every place of the sources that an error names, those of its notes and of the macros around it too."""
    for span in message["spans"]:
        while span:
            yield span["file_name"], span["byte_start"], span["byte_end"]
            span = (span.get("expansion") or {}).get("span")
    for child in message["children"]:
        yield from spans(child)


def blame(error, written):
    """The mutants that an error is about, and whether it is about their own words alone.

    They are those in whose text it points; where there is none, those whose surroundings it points at.
    """
    by_file = collections.defaultdict(list)
    for entry in written:
        by_file[entry["file"]].append(entry)

    def within(key, places):
        return {
            entry["number"]
            for file, start, end in places
            for entry in by_file[file]
            if entry[key][0] <= start and end <= entry[key][1]
        }

    primary = {
        (span["file_name"], span["byte_start"], span["byte_end"]) for span in error["spans"] if span["is_primary"]
    }
    if found := within("own", primary):
        return found, True
    places = list(spans(error))
    if found := within("own", places) or within("whole", places):
        return found, False
    around = {entry["number"] for file, start, end in places for entry in by_file[file] if start <= entry["own"][0] <= end}
    return around, False


class Tests:
    """The unit tests of one program, run for a mutant until the first that fails."""

    def __init__(self, program, tree):
        self.program, self.tree = program, tree
        with open(".cargo/mutants.toml", "rb") as file:
            options = tomllib.load(file)["additional_cargo_test_args"]
        # Those that the test program takes.
        self.options = options[options.index("--") + 1 :]
        # Tests that other tests of the same process disturb.
        self.lonely = []

    def control(self):
        """Runs all tests without a mutant: how long they take. Where they fail, every mutant would seem to be noticed."""
        start = time.monotonic()
        kind, failed = self.run(None, [], whole=True)
        if kind == "caught" and failed:
            self.lonely = [test for test in failed if self.run(None, [test, "--exact"])[0] == "missed"]
            print(f"mutants: by themselves alone pass, and are run so: {self.lonely}", file=sys.stderr, flush=True)
        if kind != "missed" and (not failed or failed != self.lonely):
            sys.exit(f"mutants: without a mutant the tests do not pass: {kind}, {failed}")
        return time.monotonic() - start

    def but(self, *names):
        """Options that leave tests out."""
        return [option for name in [*self.lonely, *names] for option in ("--skip", name)]

    def judge(self, mutant):
        """The outcome of a mutant, and the test that noticed it."""
        own = re.sub(r"/mod$", "", mutant["file"].removeprefix("src/").removesuffix(".rs")).replace("/", "::")
        room = own.split("::")[0] + "::"
        # Tests of its own file are the likeliest to notice, then those of its room; none runs twice.
        stages = [[own, *self.but()], [room, *self.but(own)], self.but(own, room)]
        for stage in [*stages, *([test, "--exact"] for test in self.lonely)]:
            kind, test = self.first(mutant["number"], stage)
            # A test that failed for another reason, say the load of the machine, passes when it runs alone.
            while test and self.run(mutant["number"], [test, "--exact"])[0] == "missed":
                print(f"mutants: {test} failed once only, {mutant['name']}", file=sys.stderr, flush=True)
                stage = [*stage, "--skip", test]
                kind, test = self.first(mutant["number"], stage)
            if kind != "missed":
                return kind, test
        return "missed", None

    def first(self, number, options):
        """Runs tests until one fails: the outcome, and that test."""
        kind, failed = self.run(number, options)
        return kind, failed[0] if failed else None

    def run(self, number, options, whole=False):
        """Runs tests, all of them or until the first fails: `caught`, `timeout` or `missed`, and those that failed."""
        # In memory, where that can be: tests of the store wait for the disk most of their time.
        with tempfile.TemporaryDirectory(prefix="mutant-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
            environment = os.environ | {"TMPDIR": folder, "INSTA_UPDATE": "no", "CARGO_MANIFEST_DIR": str(self.tree.root)}
            environment |= {} if number is None else {"TRTGATE_MUTANT": str(number)}
            child = subprocess.Popen(
                [self.program, *options, *self.options], cwd=self.tree.root, env=environment, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=limits,
            )  # fmt: skip
            said = Silence(LIMIT, lambda: end(child))
            failed = []
            for line in child.stdout:
                said.word()
                found = re.match(r"test (\S+)(?: - should panic)? \.\.\. FAILED", line)
                if found:
                    failed.append(found[1])
                    if not whole:
                        end(child)
                        break
            late = said.over()
            code = child.wait()
            end(child)
        if late:
            return "timeout", failed
        return ("missed" if code == 0 and not failed else "caught"), failed


class Silence:
    """Calls `action` where nothing was said for so many seconds: a machine that is busy is slow, and still says something."""

    def __init__(self, seconds, action):
        self.seconds, self.action, self.late = seconds, action, False
        self.last, self.done = time.monotonic(), threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.done.wait(1):
            if time.monotonic() - self.last > self.seconds:
                self.late = True
                return self.action()

    def word(self):
        self.last = time.monotonic()

    def over(self):
        """Ends the watch: whether it came to the action."""
        self.done.set()
        return self.late


def limits():
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE, MOST_FILE))


def end(child):
    """Ends a process and those of its group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def reach(mutants, possible, wanted):
    """The first mutants, up to the last of as many that are possible as are wanted."""
    found, count = [], 0
    for mutant in mutants:
        if count == wanted:
            break
        found.append(mutant)
        count += mutant["number"] in possible
    return found


def run(drawn, wanted, asked):
    """Runs mutants of several parts.

    `drawn` are each part's mutants in the order of the draw, `wanted` how many of them that compile are to be run. Gives the
    outcome of each by name, its test with it, and the names of those that no switch could express.
    """
    tree = Tree(asked.output)
    numbered = {part: [dict(mutant) for mutant in mutants] for part, mutants in drawn.items()}
    everything = [mutant for mutants in numbered.values() for mutant in mutants]
    for number, mutant in enumerate(everything, 1):
        mutant["number"] = number
        mutant.pop("diff", None)
    switched, program, certain = tree.build(everything)
    works = {mutant["number"] for mutant in switched}
    # The program is taken out of the way of what is built next.
    kept = asked.output / "switched"
    shutil.copy2(program, kept)
    near = [mutant for part, mutants in numbered.items() for mutant in reach(mutants, works, wanted[part])]
    unsure = [mutant for mutant in near if mutant["number"] not in works | certain]
    possible = works | {mutant["number"] for mutant in tree.in_place(unsure)}
    outcomes = {mutant["name"]: ("unviable", None) for mutant in near if mutant["number"] not in possible}
    sample = [mutant for part, mutants in numbered.items() for mutant in reach(mutants, possible, wanted[part])]
    sample = [mutant for mutant in sample if mutant["number"] in possible]
    # A little of each part after the other: what is known when this is stopped is known of all.
    places = {mutant["number"]: place for mutants in numbered.values() for place, mutant in enumerate(mutants)}
    ready = sorted((mutant for mutant in sample if mutant["number"] in works), key=lambda mutant: places[mutant["number"]])
    alone = [mutant for mutant in sample if mutant["number"] not in works]

    tests = Tests(str(kept.resolve()), tree)
    print(f"mutants: {len(ready)} behind switches, {len(alone)} by themselves", file=sys.stderr, flush=True)
    print(f"mutants: without a mutant the tests take {tests.control():.0f} s", file=sys.stderr, flush=True)

    def judge(mutant):
        start = time.monotonic()
        kind, test = tests.judge(mutant)
        print(f"{kind:<8} {time.monotonic() - start:5.0f} s  {mutant['name']}  {test or ''}", file=sys.stderr, flush=True)
        return mutant["name"], (kind, test)

    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        outcomes |= dict(pool.map(judge, ready))
    for mutant in alone:
        left, program, _ = tree.build([mutant], plain=True)
        tests.program = program
        outcomes[mutant["name"]] = judge({**mutant, "number": 0})[1] if left else ("unviable", None)
    return outcomes, [mutant["name"] for mutant in alone]
