"""Build the documentation site, strictly, and check what was built.

    python tools/docs_site.py            # writes build/site/html; open its index.html, no server is needed

Pages of docs/ and of the project's root are copied to build/site/src with links that fit the site: a link to a page
leads to its page there, a link to any other file leads to the repository. The navigation is read from docs/README.md,
and the Python API from the docstrings of the public names. Warnings of the builder, pages that the navigation lacks,
links that lead nowhere and anything that a page would load from the web are faults.

Needs the packages of `pip install --group docs`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import notebooks

import prefboost

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "site"
SOURCE, SITE = BUILD / "src", BUILD / "html"
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
REPOSITORY = URLS["Repository"]
PROJECT_PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^```(python|console|bash) run[^\n]*$", re.MULTILINE)
API = "reference/python"
"""Folder of the pages of the Python API in the site, one per part of the package."""
NOTICES = re.compile(r"\b(WARNING|Warning|ERROR|Error)\b")


def place_page(file: Path) -> Path | None:
    """Return the place of a page of the project inside the site's sources, None for a file that is no page there."""
    if file.suffix not in {".md", ".ipynb"} or not file.is_relative_to(ROOT):
        return None
    name = file.relative_to(ROOT).with_suffix(".md")
    if name.parts[0] == "docs":
        return Path("pages.md") if name == Path("docs/README.md") else name.relative_to("docs")
    if name == Path("README.md"):
        return Path("index.md")  # the front page, as the builder names it
    return Path("project") / name if str(name) in PROJECT_PAGES else None


def convert_link(target: str, page: Path) -> str:
    """Rewrite a link of a page for the site: to the page there, to a copied picture, or to the repository's file."""
    if "://" in target or target.startswith(("#", "mailto:")):
        return target
    name, mark, anchor = target.partition("#")
    file = (page.parent / name).resolve()
    here, there = place_page(page), place_page(file)
    assert here is not None, page
    if there is not None:
        return os.path.relpath(there, here.parent) + mark + anchor
    if file.is_relative_to(ROOT / "docs"):
        return os.path.relpath(file.relative_to(ROOT / "docs"), here.parent)
    return f"{REPOSITORY}/blob/main/{file.relative_to(ROOT)}{mark}{anchor}"


def convert_page(page: Path) -> str:
    """Return a page's text for the site: links rewritten outside of code, `run` marks of code blocks removed."""
    text = notebooks.convert(page) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        title, _, rest = text.partition("\n")
        text = f"{title}\n\n*[Download this notebook]({REPOSITORY}/blob/main/{page.relative_to(ROOT)})*\n{rest}"
    parts = FENCE.split(text)
    # Odd parts are fenced blocks.
    return "".join(
        RUN.sub(r"```\1", part)
        if number % 2
        else LINK.sub(lambda match: match[1] + convert_link(match[2], page) + match[3], part)
        for number, part in enumerate(parts)
    )


def write_api() -> dict[str, str]:
    """Write the pages of the Python API: part of the package -> the public names that it defines, in one page."""
    pages: dict[str, list[str]] = {}
    for public, (module, name) in sorted(prefboost._read_public_names().items()):
        defined = getattr(prefboost, public)
        # Where it is defined, not where the package imports it from: the docstring is read from there.
        home = getattr(defined, "__module__", module)
        part = home.split(".")[1]
        lines = pages.setdefault(
            part, [f"# {part.capitalize()}", "", "`import prefboost as pb` gives these names.", ""]
        )
        lines += [f"::: {home}.{getattr(defined, '__name__', name)}", "    options:", f"      heading: pb.{public}"]
        lines += [f"      toc_label: {public}", ""]
    return {part: "\n".join(lines) for part, lines in sorted(pages.items())}


def read_navigation(text: str) -> list[tuple[str, list[Any]]]:
    """Read the sections of docs/README.md: heading, then (title, page), or (group, pages) from the rows of a table."""
    sections: list[tuple[str, list[Any]]] = []
    for line in text.splitlines():
        if line.startswith("## "):
            sections.append((line.removeprefix("## "), []))
        links = [
            (title[0].upper() + title[1:], target) for title, target in re.findall(r"\[([^]]+)\]\(([^)]+)\)", line)
        ]
        if not sections or not links:
            continue
        group = re.match(r"\| ([^|\[]+) \|", line)
        sections[-1][1].extend([(group[1], links)] if group else links)
    return sections


def write_config() -> list[str]:
    """Write build/site/zensical.toml; returns pages that docs/README.md does not list."""
    listed: set[Path] = set()

    def convert(entry: tuple[str, Any]) -> str:
        """Turn an entry of the navigation into TOML."""
        title, target = entry
        if not isinstance(target, str):
            return f"{{ {json.dumps(title)} = [{', '.join(map(convert, target))}] }}"
        # Pages of the API are made for the site alone: theirs is an absolute path in it.
        page = Path(target[1:]) if target.startswith("/") else place_page((ROOT / "docs" / target).resolve())
        listed.add(page or Path(target))
        return f"{{ {json.dumps(title)} = {json.dumps(str(page or target))} }}"

    sections = read_navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    project = [(name.removesuffix(".md").capitalize(), f"../{name}") for name in PROJECT_PAGES]
    parts = sorted(file.stem for file in (SOURCE / API).glob("*.md"))
    for title, pages in sections:
        if title == "Reference":
            pages.append(("Python API", [(part.capitalize(), f"/{API}/{part}.md") for part in parts]))
    entries = [("Start", "../README.md"), *sections, ("Project", [*project, ("All pages", "README.md")])]
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    added = [f"site_url = {json.dumps(URLS['Documentation'])}", f"repo_url = {json.dumps(REPOSITORY)}"]
    added.append(f"nav = [{', '.join(map(convert, entries))}]")
    (BUILD / "zensical.toml").write_text(text.replace("[project]\n", "[project]\n" + "\n".join(added) + "\n", 1))
    staged = {file.relative_to(SOURCE) for file in SOURCE.rglob("*.md")}
    return [f"docs/README.md does not list {page}" for page in sorted(staged - listed)]


def stage() -> int:
    """Write the site's sources anew; returns the number of pages."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    documents = sorted(file for file in (ROOT / "docs").rglob("*") if file.suffix in {".md", ".ipynb"})
    pages = [*documents, *(ROOT / name for name in ("README.md", *PROJECT_PAGES))]
    for page in pages:
        place = place_page(page)
        assert place is not None, page
        target = SOURCE / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(convert_page(page), encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "images", SOURCE / "images")
    # Editors fetch it from its address on the site.
    shutil.copy(ROOT / "docs" / "reference" / "recipe.schema.json", SOURCE / "reference")
    for name in ("site.css", "iframe-worker.js"):
        shutil.copy(ROOT / "tools" / "site" / name, SOURCE)
    api = write_api()
    for part, text in api.items():
        (SOURCE / API).mkdir(parents=True, exist_ok=True)
        (SOURCE / API / f"{part}.md").write_text(text, encoding="utf-8")
    return len(pages) + len(api)


def build() -> list[str]:
    """Build the site in strict mode; returns the lines of its output that report a fault."""
    shutil.rmtree(SITE, ignore_errors=True)
    line = [
        str(Path(sys.executable).with_name("zensical")),
        "build",
        "--strict",
        "--clean",
        "-f",
        str(BUILD / "zensical.toml"),
    ]
    done = subprocess.run(line, cwd=BUILD, capture_output=True, text=True, check=False)
    output = (done.stdout + done.stderr).splitlines()
    # Strict mode ends with an error for the builder's own warnings; those of mkdocstrings are only printed.
    notices = [text for text in output if NOTICES.search(text)]
    if done.returncode and not notices:
        notices = output[-20:]
    return notices


def keep_offline(site: Path) -> None:
    """Load the shim that search needs in pages opened as files from the site itself, not from the web."""
    for file in site.rglob("*.html"):
        depth = len(file.relative_to(site).parts) - 1
        local = "/".join([*[".."] * depth, "iframe-worker.js"])
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("https://unpkg.com/iframe-worker/shim", local), encoding="utf-8")


class Page(HTMLParser):
    """Anchors of a built page, and the addresses that it links to or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids, links and sources."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in {"stylesheet", "icon", "preload", "preconnect", "modulepreload"}:
            self.loads.append(values.get("href", ""))
        elif tag in {"script", "img", "iframe", "source"} and "src" in values:
            self.loads.append(values["src"])


def find_faults_of_links(site: Path) -> Iterator[str]:
    """Follow every link inside a built site, and name what pages would load from elsewhere."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        name = file.relative_to(site)
        if name.name == "404.html":  # its links begin at the address of the published site
            continue
        yield from (f"{name} loads {load} from the web" for load in page.loads if re.match(r"(https?:)?//", load))
        inside = [link for link in page.links + page.loads if not re.match(r"\w+:|//", link)]
        for link in dict.fromkeys(inside):
            path, _, anchor = unquote(link).partition("#")
            target = (file.parent / path.partition("?")[0]).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{name}: the link {link} leads nowhere"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name}: there is no heading for {link}"


def main() -> int:
    """Stage, build and check; 1 where there is a fault."""
    count = stage()
    faults = write_config()
    faults += build()
    if SITE.exists():
        keep_offline(SITE)
        faults += find_faults_of_links(SITE)
    for fault in faults:
        print(fault)
    print(f"{count} pages staged, build/site/html built, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
