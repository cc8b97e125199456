"""The documentation site: links fit it, its navigation is that of docs/README.md, and a browser shows its pages."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import docs_site
import pytest

ROOT = docs_site.ROOT
WIDTHS = (1200, 420)
PROBE = """<!doctype html><body><script>
const results = [];
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; frame.src = page; });
  const root = frame.contentDocument.documentElement;
  const pictures = [...frame.contentDocument.images].filter((image) => !image.naturalWidth).map((image) => image.src);
  results.push({page, width, heading: frame.contentDocument.querySelector("h1").innerText,
                overflow: root.scrollWidth - root.clientWidth, pictures});
  frame.remove();
}
(async () => {
  for (const page of PAGES) for (const width of WIDTHS) await look(page, width);
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "results"; out.textContent = JSON.stringify(results);
  document.body.append(out);
})();
</script></body>"""
SEARCH = """<script>
const inputs = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
  [...(each.matches("input[type=text]") ? [each] : []), ...(each.shadowRoot ? inputs(each.shadowRoot) : [])]);
const words = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
  each.shadowRoot ? [each.shadowRoot.textContent, ...words(each.shadowRoot)] : []);
addEventListener("load", () => setTimeout(() => {
  document.querySelector(".md-search__button").click();
  setTimeout(() => {
    const [input] = inputs(document);
    input.value = "likelihood"; input.dispatchEvent(new Event("input", {bubbles: true, composed: true}));
    setTimeout(() => { document.body.dataset.found = words(document).join(" ").match(/\\d+ results?/)?.[0]; }, 2000);
  }, 1000);
}, 500));
</script></body>"""


def build_site(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build the site into a folder of the tests, beside the one of `make site`."""
    if importlib.util.find_spec("zensical") is None or importlib.util.find_spec("griffe_pydantic") is None:
        pytest.skip("the builder is not installed: pip install --group docs")
    folder = ROOT / "build" / "site-of-tests"
    monkeypatch.setattr(docs_site, "BUILD", folder)
    monkeypatch.setattr(docs_site, "SOURCE", folder / "src")
    monkeypatch.setattr(docs_site, "SITE", folder / "html")
    assert docs_site.main() == 0
    return folder / "html"


def open_page(address: str, width: int) -> str:
    """Open a page in headless Chromium, and return its document after its scripts ran."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    line = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    line += [f"--window-size={width},900", "--virtual-time-budget=60000", "--dump-dom", address]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.skip(f"Chromium does not start here: {done.stderr[-200:]}")
    return done.stdout


def open_probe(site: Path, text: str) -> str:
    """Open a page of ours inside the site."""
    probe = site / "probe.html"
    probe.write_text(text, encoding="utf-8")
    try:
        return open_page(probe.as_uri(), max(WIDTHS))
    finally:
        probe.unlink()


@pytest.mark.slow
def test_pages_fit_a_desktop_and_a_phone_and_search_works_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # One test: processes that run tests side by side would build the site into the same folder.
    site = build_site(monkeypatch)
    names = [str(file.relative_to(site)) for file in sorted(site.rglob("*.html")) if file.name != "404.html"]
    pages = [name for name in names if "/python/" not in name] + ["reference/python/losses.html"]
    assert len(pages) > 30
    text = open_probe(site, PROBE.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS)))
    results = json.loads(text.split('id="results">')[1].split("</script>")[0])
    assert {(each["page"], each["width"]) for each in results} == {(page, width) for page in pages for width in WIDTHS}
    assert [each for each in results if each["overflow"] > 0 or each["pictures"] or not each["heading"]] == []

    text = open_probe(site, (site / "index.html").read_text(encoding="utf-8").replace("</body>", SEARCH))
    assert int(text.split('data-found="')[1].split(" result")[0]) > 5


@pytest.mark.parametrize(
    ("page", "target", "expected"),
    [
        ("docs/tutorials/augment.md", "train.md#goals", "train.md#goals"),
        (
            "docs/howto/plug-in.md",
            "../../CONTRIBUTING.md#how-to-add-a-judge",
            "../project/CONTRIBUTING.md#how-to-add-a-judge",
        ),
        ("docs/log.md", "README.md", "pages.md"),
        ("README.md", "docs/images/control.svg", "images/control.svg"),
        ("docs/log.md", "../examples/tiny.yaml", f"{docs_site.REPOSITORY}/blob/main/examples/tiny.yaml"),
        ("README.md", "https://arxiv.org/abs/2410.08067", "https://arxiv.org/abs/2410.08067"),
    ],
)
def test_links_lead_to_pages_of_the_site_or_to_files_of_the_repository(page: str, target: str, expected: str) -> None:
    assert docs_site.convert_link(target, ROOT / page) == expected


def test_links_in_code_stay_and_marks_of_the_documentation_check_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_site, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text("[a](../x.py)\n\n```python run own.py\n[a](../x.py)\n```\n")
    assert docs_site.convert_page(page) == (
        f"[a]({docs_site.REPOSITORY}/blob/main/x.py)\n\n```python\n[a](../x.py)\n```\n"
    )


def test_the_navigation_is_that_of_the_list_of_pages() -> None:
    text = "## How-to\n\nSolve [one](a.md).\n\n| task | page |\n|---|---|\n| Data | [use](b.md), [make](c.md) |\n"
    assert docs_site.read_navigation(text) == [
        ("How-to", [("One", "a.md"), ("Data", [("Use", "b.md"), ("Make", "c.md")])])
    ]


def test_every_page_of_the_documentation_is_listed() -> None:
    listed = {
        target
        for _, entries in docs_site.read_navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
        for title, pages in entries
        for _, target in ([(title, pages)] if isinstance(pages, str) else pages)
    }
    pages = {str(file.relative_to(ROOT / "docs")) for file in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert pages - listed == set(), "list it in docs/README.md"


def test_links_that_lead_nowhere_and_loads_from_the_web_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="top">B</h1>')
    (tmp_path / "a.html").write_text(
        '<script src="https://x.org/y.js"></script><a href="b.html#top">1</a><a href="b.html#no">2</a>'
        '<a href="gone.html">3</a><a href="https://e.org">4</a><img src="gone.png">'
    )
    assert list(docs_site.find_faults_of_links(tmp_path)) == [
        "a.html loads https://x.org/y.js from the web",
        "a.html: there is no heading for b.html#no",
        "a.html: the link gone.html leads nowhere",
        "a.html: the link gone.png leads nowhere",
    ]
