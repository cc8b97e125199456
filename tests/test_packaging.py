"""What a release ships, and the pages around it, agree with pyproject.toml."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import package_check
import pytest
import yaml
from packaging.requirements import Requirement

import prefboost

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def test_every_address_of_the_repository_names_the_owner_that_pyproject_names() -> None:
    owner = REPOSITORY.split("/")[-2]
    address = re.compile(r"(?:github\.com|githubusercontent\.com)/([\w-]+)/prefboost|//([\w-]+)\.github\.io/prefboost")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    owners: dict[str, set[str]] = {}
    for name in listed.stdout.splitlines():
        if Path(name).suffix in {".md", ".toml", ".yml", ".yaml", ".cff", ".py", ".html"} and (ROOT / name).exists():
            matches = address.findall((ROOT / name).read_text(encoding="utf-8"))
            owners |= {name: {a or b for a, b in matches}} if matches else {}
    assert "pyproject.toml" in owners and "CITATION.cff" in owners
    assert {name: others for name, others in owners.items() if others != {owner}} == {}


def test_addresses_for_users_are_declared() -> None:
    assert {"Repository", "Documentation", "Issues", "Changelog"} <= set(PROJECT["urls"])
    assert (ROOT / PROJECT["urls"]["Changelog"].rpartition("/")[2]).exists()


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == prefboost.__version__ == citation["version"]
    assert citation["license"] == PROJECT["license"] and citation["repository-code"] == REPOSITORY


def test_the_workflow_of_every_change_calls_the_script_of_continuous_integration() -> None:
    steps = WORKFLOWS["ci"]["jobs"]["ci"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    assert "make package" in (ROOT / ".ci" / "run").read_text()


def test_a_release_is_published_by_trusted_publishing_and_only_that_job_may_ask_for_an_identity() -> None:
    release = WORKFLOWS["release"]
    publish = release["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"] == "pypi"
    assert publish["needs"] == "build" and "permissions" not in release["jobs"]["build"]
    assert any("gh-action-pypi-publish" in step.get("uses", "") for step in publish["steps"])
    assert "secrets." not in str(release) and "password" not in str(release), "no token is stored"


def test_forms_for_issues_have_what_the_site_asks_of_them() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) >= 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"] and form["body"]
        for field in form["body"]:
            assert field["type"] in {"textarea", "input"} and field["attributes"]["label"]


def test_a_wheel_that_lacks_a_template_or_holds_a_test_is_at_fault() -> None:
    tracked = {"prefboost/__init__.py", "prefboost/page.html"}
    names = ["prefboost/__init__.py", "tests/test_x.py", "prefboost-0.1.0.dist-info/METADATA"]
    assert list(package_check.find_faults_of_wheel(names, tracked)) == [
        "the wheel lacks prefboost/page.html",
        "the wheel holds tests/test_x.py, which is not the package's",
    ]


def test_a_source_archive_with_tests_or_shared_data_is_at_fault() -> None:
    names = [f"prefboost-0.1.0/{name}" for name in ("src/prefboost/a.py", *PROJECT["license-files"])]
    names += ["prefboost-0.1.0/shared/x", "prefboost-0.1.0/.gitignore"]
    assert list(package_check.find_faults_of_archive(names)) == ["the source archive holds shared"]


LOADERS = ("import_module", "find_spec", "importorskip")


def test_every_library_that_is_declared_is_imported_somewhere() -> None:
    imported: dict[str, set[str]] = {"src": set(), "tests": set()}
    for part, folders in {"src": ["src"], "tests": ["tests", "tools", "benchmarks", "examples", "src"]}.items():
        for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(LOADERS):
                    names += [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
                imported[part] |= {name.partition(".")[0] for name in names}
    # Imported under another name, by a library of the same extra, or run as programs.
    modules = {"pyyaml": "yaml", "scikit-learn": "sklearn", "types-pyyaml": "yaml"}
    indirect = {
        "liger-kernel": "transformers", "bitsandbytes": "transformers", "sniffio": "httpcore",
        "flask": "moto", "flask-cors": "moto",
        "mypy": "make check", "ruff": "make check", "import-linter": "make check", "pre-commit": "git",
        "pytest-xdist": "make test",
    }  # fmt: skip
    unused = {}
    for extra, lines in {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}.items():
        for name in (Requirement(line).name.lower() for line in lines):
            module = modules.get(name, name.replace("-", "_"))
            if name not in indirect and module not in imported["tests" if extra == "dev" else "src"]:
                unused[f"{extra}: {name}"] = module
    assert {name: module for name, module in unused.items() if module != "prefboost"} == {}
