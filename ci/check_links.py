"""check_links.py [FILE.md…]: fails where a link of a document leads nowhere inside the repository: no such file, or no such heading.

Without arguments, every document that git tracks or would; then also each `docs/….md` that sources and scripts name. Links to other
places are not followed.
"""

import pathlib
import re
import subprocess
import sys
import urllib.parse

LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|source|a)\b[^>]*\b(?:src|srcset|href)=\"([^\"]+)\"")
NAMED = re.compile(r"\bdocs/[\w./-]+?\.md(?:#[\w-]+)?")


def without_code(text):
    """The text with its blocks and spans of code emptied, line by line as before."""
    fenced, lines = None, []
    for line in text.split("\n"):
        fence = re.match(r"\s*(```+|~~~+)", line)
        if fence and (fenced is None or fence[1].startswith(fenced)):
            fenced = None if fenced else fence[1]
            lines.append("")
        else:
            lines.append("" if fenced else re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", line))
    return lines


def anchors(path, known={}):
    """The fragments of a document's headings, as GitHub and GitLab make them."""
    if path not in known:
        found, fenced = set(), False
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            heading = None if fenced else re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
            if heading:
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
                slug = re.sub(r"[^\w\- ]", "", text.lower().replace("`", "")).replace(" ", "-")
                place, count = slug, 0
                while place in found:
                    count += 1
                    place = f"{slug}-{count}"
                found.add(place)
        known[path] = found
    return known[path]


def wrong(target, document, base):
    """What is wrong with a link, or nothing."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    name, _, fragment = urllib.parse.unquote(target).partition("#")
    path = (base / name) if name else document
    if not path.exists():
        return f"there is no `{name}`"
    if fragment and path.suffix == ".md" and fragment not in anchors(path):
        return f"`{name or document}` has no heading `#{fragment}`"
    return None


def tracked(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns], check=True, capture_output=True
    )
    paths = [pathlib.Path(name) for name in listed.stdout.decode().split("\0") if name]
    # A file deleted but not committed is still listed.
    return [path for path in paths if path.is_file()]


def main():
    given = [pathlib.Path(name) for name in sys.argv[1:]]
    failed = 0
    for document in given or tracked("*.md"):
        for number, line in enumerate(without_code(document.read_text(encoding="utf-8")), 1):
            for link in LINK.finditer(line):
                for target in (link[1] or link[2]).split(","):
                    if told := wrong(target.split()[0], document, document.parent):
                        print(f"{document}:{number}: {told}", file=sys.stderr)
                        failed += 1
    # Tests name documents of the projects that they make.
    sources = [] if given else tracked("src/*.rs", "ci/*", "tools/*", "*.yml", "*.toml", "*.py")
    for source in (source for source in sources if "tests" not in source.stem):
        try:
            text = source.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            for named in NAMED.finditer(line):
                if told := wrong(named[0], source, pathlib.Path()):
                    print(f"{source}:{number}: {told}", file=sys.stderr)
                    failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
