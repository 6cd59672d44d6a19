"""Mutants of several parts in one program, each behind a switch: see `ci/mutants`.

A copy of the sources holds all of them (`tools/mutant-switches` writes it), is compiled once, and its tests run once a
mutant with `TRTGATE_MUTANT` set to its number. What the compiler refuses behind a switch is compiled in place, as
`cargo mutants` writes it: where that compiles, it is run from a program of its own.

Each test first runs without a mutant and tells which switches it asks. A mutant is run with the tests that ask its switch:
the others do the same with it as without.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import queue
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
# Seconds without a test that ends, beside ten times those of the slowest of them, until a mutant is one that never would.
SILENCE = 60.0
# Seconds of unit tests that run in one process.
BATCH = 4.0
# Seconds of the slowest integration test that is asked, and how many of them a mutant has to survive.
SLOWEST = 12.0
MOST_INTEGRATION = 60
UNIT, INTEGRATION = "unit", "it"
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
        self.tool = tool()
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
                numbers, inside = blame(error, done["written"], self.root)
                blamed = blamed | numbers
                if inside and (error["code"] or {}).get("code") in CERTAIN:
                    certain |= numbers
            if not blamed - refused:
                sys.exit(f"mutants: the sources do not compile, and no mutant is to blame:\n{said.stderr[-4000:]}")
            left = [mutant for mutant in left if mutant["number"] not in blamed]
            print(f"mutants: {len(blamed)} of {len(blamed) + len(left)} do not compile, so far", file=sys.stderr, flush=True)

    def build(self, mutants, kinds, plain=False):
        """Compiles the tests of these kinds: the mutants in them, the programs, and the mutants that compile in no way."""
        wanted = ["--lib"] + (["--test", INTEGRATION] if INTEGRATION in kinds else [])
        left, said, certain = self.compile(mutants, plain, ["test", *wanted, "--no-run"])
        names = {UNIT: ("trtgate", "lib"), INTEGRATION: (INTEGRATION, "test")}
        return left, {kind: executable(said, *names[kind]) for kind in kinds}, certain

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


def tool():
    """The program that writes mutants into sources; built where it is older than its own."""
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "examples", "mutant-switches")
    newest = max(path.stat().st_mtime for path in pathlib.Path("tools/mutant-switches").rglob("*.rs"))
    # It is an example of this crate, so that cargo would compile all of that first.
    if built.exists() and built.stat().st_mtime > newest:
        return str(built.resolve())
    command = ["cargo", "build", *CARGO, "--example", "mutant-switches", "--message-format", "json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return executable(done.stdout, "mutant-switches", "example")


def executable(said, name, kind):
    """The program that cargo made of a target, by its messages."""
    messages = [json.loads(line) for line in said.splitlines()]
    return next(
        message["executable"]
        for message in messages
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == name
        and kind in message["target"]["kind"] and message["executable"]
    )  # fmt: skip


def spans(message):
    """Every place of the sources that an error names, those of its notes and of the macros around it too."""
    for span in message["spans"]:
        while span:
            yield span["file_name"], span["byte_start"], span["byte_end"]
            span = (span.get("expansion") or {}).get("span")
    for child in message["children"]:
        yield from spans(child)


def blame(error, written, root):
    """The mutants that an error is about, and whether it is about their own words alone.

    They are those in whose text it points; where there is none, those whose surroundings it points at, or those of the same line.
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
    if around:
        return around, False
    # What a function says that returns an `impl Trait` is held to the mutant before it, which returned another type.
    beside = {
        entry["number"]
        for span in error["spans"]
        for entry in by_file[span["file_name"]]
        if span["line_start"] <= line_of(root, entry) <= span["line_end"]
    }
    if beside:
        return beside, False
    # An error in what no mutant touches follows from one near it: a name that is not used any more, a type that is inferred.
    near = {
        min(by_file[file], key=lambda entry: abs(entry["own"][0] - start))["number"]
        for file, start, _ in sorted(primary) + sorted(places)
        if by_file[file]
    }
    return near, False


def line_of(root, entry):
    """The line of a written file in which a mutant's own text begins."""
    return (root / entry["file"]).read_bytes()[: entry["own"][0]].count(b"\n") + 1


class Caches:
    """What the integration tests share beside the sources, a copy for each that runs at once: a mutant may damage its own."""

    def __init__(self, folder, jobs):
        own = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "trtgate")
        self.pristine = pathlib.Path(os.environ.get("TRTGATE_CACHE") or own)
        self.free = queue.Queue()
        for number in range(jobs):
            copy = (folder / f"cache-{number}").resolve()
            self.renew(copy)
            self.free.put(copy)

    def renew(self, copy):
        shutil.rmtree(copy, ignore_errors=True)
        # Times too: an installation is held to them.
        subprocess.run(["cp", "-a", str(self.pristine), str(copy)], check=True)


class Tests:
    """The tests of one program, run for a mutant until the first that fails. A test is its kind and its name."""

    def __init__(self, programs, tree, caches, most):
        self.programs, self.tree, self.caches = programs, tree, caches
        # Seconds of unit tests that a mutant has to survive, where it is but glanced at.
        self.most = most
        with open(".cargo/mutants.toml", "rb") as file:
            options = tomllib.load(file)["additional_cargo_test_args"]
        # Those that the program of the unit tests takes.
        self.options = options[options.index("--") + 1 :]
        # Seconds of each test, and the mutants at whose place each comes by.
        self.seconds, self.reached = {}, {}
        # Tests that other tests of the same process disturb.
        self.lonely = set()

    def listed(self, kind):
        listed = subprocess.run(
            [self.programs[kind], "--list", "--format", "terse", *(self.options if kind == UNIT else [])],
            cwd=self.tree.root, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return [(kind, line.removesuffix(": test")) for line in listed.stdout.splitlines() if line.endswith(": test")]

    def control(self, jobs):
        """Runs each test without a mutant in a process of its own. Where one fails, it would seem to notice every mutant: a unit
        test has to pass, an integration test that fails here or is slow is left out and named."""
        tests = [test for kind in self.programs for test in self.listed(kind)]

        def alone(test):
            with tempfile.NamedTemporaryFile(prefix="reached-") as file:
                start = time.monotonic()
                kind, _ = self.run(None, [test], {"TRTGATE_MUTANTS_REACHED": file.name})
                seconds = time.monotonic() - start
                return kind, seconds, {int(line) for line in file.read().split()}

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            found = dict(zip(tests, pool.map(alone, tests)))
        # Once more, alone: what fails under the load of the others alone is no fault.
        found |= {test: alone(test) for test in tests if found[test][0] == "caught"}
        failed = [f"{test[1]}: {found[test][0]}" for test in tests if found[test][0] != "missed" and test[0] == UNIT]
        if failed:
            sys.exit(f"mutants: without a mutant tests do not pass: {failed}")
        for outcome in ("timeout", "caught"):
            left = [test[1] for test in tests if found[test][0] == outcome]
            if left:
                why = "slow" if outcome == "timeout" else "fail without a mutant"
                print(f"mutants: left out, {why}: {len(left)}: {' '.join(left)}", file=sys.stderr, flush=True)
        found = {test: told for test, told in found.items() if told[0] == "missed"}
        self.seconds = {test: seconds for test, (_, seconds, _) in found.items()}
        self.reached = {test: numbers for test, (_, _, numbers) in found.items()}

    def of(self, mutant):
        """The tests that come by a mutant's place, or all where that is unknown: unit tests first, of them those of its own file,
        then those of its room; the quickest first. Of integration tests the quickest alone."""
        own = re.sub(r"/mod$", "", mutant["file"].removeprefix("src/").removesuffix(".rs")).replace("/", "::") + "::"
        room = own.split("::")[0] + "::"
        tests = [test for test in self.seconds if mutant["number"] is None or mutant["number"] in self.reached[test]]

        def order(test):
            kind, name = test
            return kind != UNIT, not name.startswith(own), not name.startswith(room), self.seconds[test]

        tests.sort(key=order)
        units = sum(kind == UNIT for kind, _ in tests)
        if self.most is not None:
            took = itertools.accumulate(self.seconds[test] for test in tests[:units])
            return tests[: 1 + sum(seconds < self.most for seconds in took)]
        return tests[: units + MOST_INTEGRATION]

    def batches(self, tests):
        """Tests that run in one process: a few seconds of unit tests, those that others disturb by themselves, and each
        integration test, which has a process of its own in `nextest`."""
        batch = []
        for test in tests:
            single = test in self.lonely or test[0] == INTEGRATION
            if batch and (single or sum(self.seconds[one] for one in [*batch, test]) > BATCH):
                yield batch
                batch = []
            batch.append(test)
            if single:
                yield batch
                batch = []
        if batch:
            yield batch

    def judge(self, mutant):
        """The outcome of a mutant, and the test that noticed it."""
        number = mutant["number"]
        for batch in self.batches(self.of(mutant)):
            while batch:
                kind, test = self.run(number, batch)
                if not test or len(batch) == 1 and test in self.lonely:
                    break
                # A test that failed for another reason, say the load of the machine or another test, passes when it runs alone.
                kind, _ = self.run(number, [test])
                if kind != "missed":
                    break
                print(f"mutants: {test[1]} failed once only, {mutant['name']}", file=sys.stderr, flush=True)
                self.lonely.add(test)
                batch = [one for one in batch if one != test]
                kind = "missed"
            if kind != "missed":
                return kind, test and test[1]
        return "missed", None

    def run(self, number, tests, more=None):
        """Runs tests of one kind until the first that fails: `caught`, `timeout` or `missed`, and that test."""
        if tests[0][0] == UNIT:
            return self.process(number, tests, more or {})
        copy = self.caches.free.get()
        try:
            more = {"TRTGATE_CACHE": str(copy), **(more or {})}
            outcome = self.process(number, tests, more)
            # Nothing is held to a cache that a mutant has damaged, neither this one nor the next.
            if number is not None and outcome[0] != "missed":
                if self.process(None, tests, {"TRTGATE_CACHE": str(copy)})[0] != "missed":
                    self.caches.renew(copy)
                    outcome = self.process(number, tests, more)
                    self.caches.renew(copy)
            return outcome
        finally:
            self.caches.free.put(copy)

    def process(self, number, tests, more):
        kind = tests[0][0]
        limit = SILENCE + 10 * max(self.seconds.get(test, SILENCE) for test in tests)
        if kind == INTEGRATION:
            limit = SLOWEST if number is None and tests[0] not in self.seconds else limit
        # In memory, where that can be: tests of the store wait for the disk most of their time.
        memory = MEMORY if kind == UNIT and os.access(MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="mutant-", dir=memory, ignore_cleanup_errors=True) as folder:
            environment = os.environ | {"TMPDIR": folder, "INSTA_UPDATE": "no", "CARGO_MANIFEST_DIR": str(self.tree.root)}
            environment |= more | ({} if number is None else {"TRTGATE_MUTANT": str(number)})
            child = subprocess.Popen(
                [self.programs[kind], "--exact", *(name for _, name in tests)],
                cwd=self.tree.root, env=environment, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=limits,
            )  # fmt: skip
            said = Silence(limit, lambda: end(child))
            failed = None
            for line in child.stdout:
                said.word()
                if found := re.match(r"test (\S+)(?: - should panic)? \.\.\. FAILED", line):
                    failed = kind, found[1]
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


def first(mutants, possible, wanted):
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
    kinds = [UNIT, INTEGRATION] if asked.integration else [UNIT]
    # One that stands in two lists is one mutant.
    own = {mutant["name"]: dict(mutant) for mutants in drawn.values() for mutant in mutants}
    numbered = {part: [own[mutant["name"]] for mutant in mutants] for part, mutants in drawn.items()}
    everything = list(own.values())
    for number, mutant in enumerate(everything, 1):
        mutant["number"] = number
        mutant.pop("diff", None)
    switched, programs, certain = tree.build(everything, kinds)
    works = {mutant["number"] for mutant in switched}
    # The programs are taken out of the way of what is built next; what integration tests start stays where it was built.
    for kind, program in programs.items():
        kept = asked.output / f"switched-{kind}"
        shutil.copy2(program, kept)
        programs[kind] = str(kept.resolve())
    tests = Tests(programs, tree, Caches(asked.output, asked.jobs) if asked.integration else None, asked.glance)
    start = time.monotonic()
    tests.control(asked.jobs)
    reached = set().union(*tests.reached.values())
    print(f"mutants: {len(works)} of {len(everything)} behind switches, tests come by {len(reached)}", file=sys.stderr)
    took, alone = time.monotonic() - start, sum(tests.seconds.values())
    print(f"mutants: {len(tests.seconds)} tests, {alone:.0f} s, {took:.0f} s of them", file=sys.stderr, flush=True)
    if asked.unreached:
        return {mutant["name"]: ("missed", None) for mutant in switched if mutant["number"] not in reached}, []

    near = [mutant for part, mutants in numbered.items() for mutant in first(mutants, works, wanted[part])]
    unsure = [mutant for mutant in near if mutant["number"] not in works | certain and asked.glance is None]
    possible = works | {mutant["number"] for mutant in tree.in_place(unsure)}
    outcomes = {mutant["name"]: ("unviable", None) for mutant in near if mutant["number"] not in possible}
    sample = [mutant for part, mutants in numbered.items() for mutant in first(mutants, possible, wanted[part])]
    sample = [mutant for mutant in sample if mutant["number"] in possible]
    # A little of each part after the other: what is known when this is stopped is known of all.
    places = {mutant["number"]: place for mutants in numbered.values() for place, mutant in enumerate(mutants)}
    sample = list({mutant["number"]: mutant for mutant in sample}.values())
    ready = sorted((mutant for mutant in sample if mutant["number"] in works), key=lambda mutant: places[mutant["number"]])
    alone = [mutant for mutant in sample if mutant["number"] not in works]
    print(f"mutants: {len(ready)} behind switches, {len(alone)} by themselves", file=sys.stderr, flush=True)

    def judge(mutant):
        start = time.monotonic()
        kind, test = tests.judge(mutant)
        how = test or ("" if mutant["number"] is None else f"({len(tests.of(mutant))} tests come by)")
        print(f"{kind:<8} {time.monotonic() - start:5.0f} s  {mutant['name']}  {how}", file=sys.stderr, flush=True)
        return mutant["name"], (kind, test)

    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        outcomes |= dict(pool.map(judge, ready))
    for mutant in alone:
        left, tests.programs, _ = tree.build([mutant], kinds, plain=True)
        outcomes[mutant["name"]] = judge({**mutant, "number": None})[1] if left else ("unviable", None)
    return outcomes, [mutant["name"] for mutant in alone]
