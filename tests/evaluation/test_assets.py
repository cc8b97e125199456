from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prefboost.errors import DataError
from prefboost.evaluation.assets import ASSETS, Asset, Assets

BODY = b'{"question_id": 1}\n'


@pytest.fixture
def server():
    """A loopback server that counts what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path == "/q.jsonl" else 404)
            self.end_headers()
            self.wfile.write(BODY if self.path == "/q.jsonl" else b"")

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    made.asked = asked
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def known(server, path="q.jsonl", body=BODY):
    url = f"http://127.0.0.1:{server.server_address[1]}/{path}"
    return {"questions": Asset(url, "abcdef0123456789", hashlib.sha256(body).hexdigest(), "Apache-2.0", "prompts")}


def test_it_is_fetched_once_checked_and_kept(server):
    assets, names = Assets(download=True), known(server)
    one = assets.path("questions", names)
    assert one.read_bytes() == BODY
    assert assets.path("questions", names) == one
    assert Assets(offline=True).path("questions", names) == one
    assert server.asked == ["/q.jsonl"]
    assert [path.name for path in one.parent.iterdir()] == ["q.jsonl"]


@pytest.mark.parametrize("settings", [Assets(), Assets(offline=True, download=True)])
def test_nothing_is_fetched_unasked_and_the_licence_is_named(server, settings):
    with pytest.raises(DataError, match=r"questions \(prompts; Apache-2.0\) is not on this machine"):
        settings.path("questions", known(server))
    assert server.asked == []


def test_bytes_of_another_revision_are_refused_and_not_kept(server):
    names = known(server, body=b"other")
    for _ in range(2):
        with pytest.raises(DataError, match=r"q\.jsonl has sha256"):
            Assets(download=True).path("questions", names)
    assert len(server.asked) == 2


def test_a_server_that_does_not_give_it_is_named(server):
    with pytest.raises(DataError, match="could not be fetched from"):
        Assets(download=True).path("questions", known(server, "absent.jsonl"))


@pytest.mark.parametrize("place", ["questions.jsonl", "questions/q.jsonl", "q.jsonl"])
def test_a_folder_of_ones_own_comes_first_and_is_checked_too(server, tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(BODY)
    assets = Assets(data_dir=tmp_path, offline=True)
    assert assets.path("questions", known(server)) == tmp_path / place
    (tmp_path / place).write_bytes(b"changed")
    with pytest.raises(DataError, match="has sha256"):
        assets.path("questions", known(server))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match="there is no asset nothing"):
        Assets().path("nothing")


def test_every_asset_names_its_revision_digest_licence_and_use():
    for name, asset in ASSETS.items():
        assert asset.revision in asset.url and asset.url.startswith("https://"), name
        assert (len(asset.sha256), len(asset.git_blob)) in ((64, 0), (0, 40)) and len(asset.revision) == 40, name
        assert asset.licence in ("Apache-2.0", "CC-BY-NC-4.0") and asset.is_for, name


def test_where_no_sha256_is_known_the_id_in_git_is_held_against_the_bytes(tmp_path):
    asset = Asset("https://x/abc/q.jsonl", "abc", "", "Apache-2.0", "prompts", "7" * 40)
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"hello\n")
    hello = asset._replace(git_blob="ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object
    assert Assets(data_dir=tmp_path, offline=True).path("q", {"q": hello}) == path
    with pytest.raises(DataError, match="has git id ce0136250"):
        Assets(data_dir=tmp_path, offline=True).path("q", {"q": asset})
