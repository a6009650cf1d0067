"""Downloads from a server on this machine, and archives that mean harm."""

import errno
import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile

import pytest

from benchmarks import data
from benchmarks.data import fetch, sources, unpack

TEXT = {
    f"wikitext-2/wiki.{part}.tokens": b"a b\n" for part in ("train", "test")
}
TEXT |= {"wikitext-2/wiki.valid.tokens": b"b c\n"}


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; what is in ``cut`` breaks off halfway."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.cut = set()
        self.requests = []
        self.before_answer = lambda: None

    def address(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path[1:]
        self.server.requests.append(name)
        self.server.before_answer()
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = len(content) // 2 if name in self.server.cut else len(content)
        self.wfile.write(content[:sent])

    def log_message(self, *arguments):
        """Says nothing, as what was asked for is in ``requests``."""


@pytest.fixture
def server(monkeypatch):
    # No proxy stands between this machine and itself.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def zip_of(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in members:
            archive.writestr(member, text)
    return content.getvalue()


def tar_of(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for member, text in members:
            info = member
            if isinstance(member, str):
                info = tarfile.TarInfo(member)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return content.getvalue()


def offer(server, monkeypatch, name, **files):
    """Makes the server the source of a set; returns the files' addresses."""
    remotes = []
    for file, content in files.items():
        file = file.replace("__", ".")
        server.files[file] = content
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        remotes.append(fetch.Remote(file, (server.address(file),), checksum))
    source = sources.SOURCES[name]._replace(remotes=tuple(remotes))
    monkeypatch.setitem(sources.SOURCES, name, source)
    return remotes


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_set_is_downloaded_once(pack, server, cache, monkeypatch):
    file = "words.zip" if pack is zip_of else "words.tar.gz"
    members = [("wikitext-2/", b"")] if pack is zip_of else []
    content = pack([*members, *TEXT.items()])
    offer(server, monkeypatch, "wikitext2", **{file: content})
    assert not data.available("wikitext2")
    for _ in range(2):
        text = data.wikitext2()
        assert text.vocabulary == ("<eos>", "a", "b", "<unk>")
        assert text.valid.tolist() == [2, 3, 0]
    assert server.requests == [file]
    assert data.available("wikitext2")
    # Neither the archive nor anything temporary stays.
    assert [path.name for path in cache.iterdir()] == ["wikitext-2"]


def test_files_are_put_into_the_folder(server, cache, monkeypatch):
    first, second = b"1,2,3,4,5,6,7,8,9\n", b"more"
    files = {"cal_housing.data": 5 * first, "note.txt": second}
    offer(server, monkeypatch, "california", **files)
    assert data.california().train.inputs.shape == (4, 8)
    assert server.requests == list(files)
    folder = cache / "CaliforniaHousing"
    assert (folder / "note.txt").read_bytes() == second
    usual = cache / "usual"
    usual.touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {stat.S_IMODE(usual.stat().st_mode)}


def test_the_next_address_is_asked(server, cache, monkeypatch):
    [remote] = offer(
        server, monkeypatch, "wikitext2", **{"w.zip": zip_of(TEXT.items())}
    )
    gone = server.address("gone.zip")
    remote = remote._replace(addresses=(gone, *remote.addresses))
    fetch.download([remote], cache / "wikitext-2")
    assert server.requests == ["gone.zip", "w.zip"]
    assert len(list((cache / "wikitext-2").iterdir())) == 3


def wrong_checksum(server):
    server.files["w.zip"] += b"!"


def gone(server):
    del server.files["w.zip"]


def cut_off(server):
    server.cut.add("w.zip")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_checksum, "does not match the known hash"),
        (gone, "404"),
        (cut_off, "IncompleteRead"),
    ],
)
def test_a_failed_download_leaves_nothing(
    spoil, message, server, cache, monkeypatch
):
    offer(server, monkeypatch, "wikitext2", **{"w.zip": zip_of(TEXT.items())})
    spoil(server)
    with pytest.raises(data.DataError) as caught:
        data.wikitext2()
    text = str(caught.value)
    assert text.startswith("w.zip: cannot be downloaded (http://127.0.0.1:")
    assert message in text
    assert "\n" not in text
    assert text.endswith("name the folder of a copy with --data-dir")
    assert list(cache.iterdir()) == []
    assert not data.available("wikitext2")


def test_nothing_of_a_set_is_kept_if_a_file_fails(server, cache, monkeypatch):
    files = {"cal_housing.data": b"1\n", "note.txt": b"more"}
    offer(server, monkeypatch, "california", **files)
    server.cut.add("note.txt")
    with pytest.raises(
        data.DataError, match=r"note\.txt: cannot be downloaded"
    ):
        data.california()
    assert server.requests == ["cal_housing.data", "note.txt"]
    assert list(cache.iterdir()) == []


def test_nobody_listens(server, cache, monkeypatch):
    offer(server, monkeypatch, "boston", **{"BostonHousing.csv": b""})
    server.shutdown()
    server.server_close()
    with pytest.raises(data.DataError, match="refused"):
        data.boston()
    assert list(cache.iterdir()) == []


def test_an_archive_of_something_else(server, cache, monkeypatch):
    content = zip_of([("other/words.txt", b"a\n")])
    offer(server, monkeypatch, "wikitext2", **{"w.zip": content})
    with pytest.raises(data.DataError, match="holds no folder wikitext-2"):
        data.wikitext2()
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made(server, cache, monkeypatch):
    offer(server, monkeypatch, "boston", **{"BostonHousing.csv": b""})
    cache.write_text("precious")
    with pytest.raises(
        data.DataError, match=r"cannot be written .*OPTAXMODS_DATA"
    ):
        data.boston()
    assert cache.read_text() == "precious"
    assert server.requests == []


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES]
)
def test_a_full_disk_is_no_matter_of_the_address(
    code, server, cache, monkeypatch
):
    offer(server, monkeypatch, "boston", **{"BostonHousing.csv": b"1\n"})

    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fetch.pooch, "retrieve", full)
    with pytest.raises(data.DataError) as error_info:
        data.boston()
    message = str(error_info.value)
    assert f"{cache / 'boston'}: cannot be written" in message
    assert os.strerror(code) in message
    assert "OPTAXMODS_DATA" in message
    assert "127.0.0.1" not in message
    assert list(cache.iterdir()) == []


def test_two_at_once_do_not_disturb_each_other(server, cache, monkeypatch):
    offer(server, monkeypatch, "wikitext2", **{"w.zip": zip_of(TEXT.items())})
    # Neither is answered before both have asked: both download.
    barrier = threading.Barrier(2, timeout=60)
    server.before_answer = barrier.wait
    folders, errors = [], []

    def find():
        try:
            folders.append(sources.find("wikitext2", None))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=find) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert server.requests == ["w.zip", "w.zip"]
    assert folders == 2 * [cache / "wikitext-2"]
    assert list(cache.iterdir()) == [cache / "wikitext-2"]
    assert data.wikitext2().test.tolist() == [1, 2, 0]


def tar_member(kind, target=""):
    info = tarfile.TarInfo("wikitext-2/odd")
    info.type = kind
    info.linkname = target
    return info


def zip_link():
    info = zipfile.ZipInfo("wikitext-2/odd")
    info.create_system = 3  # Unix, whose modes tell of links.
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


OUTSIDE = [
    "../odd",
    "wikitext-2/../../odd",
    "FOLDER/odd",
    "..\\odd",
    "C:/odd",
]
HOSTILE = [
    *(("w.zip", zip_of, name, "leads outside") for name in OUTSIDE),
    *(("w.tgz", tar_of, name, "leads outside") for name in OUTSIDE),
    ("w.zip", zip_of, zip_link(), "is no plain file"),
    *(
        ("w.tgz", tar_of, tar_member(kind, "../../odd"), "is no plain file")
        for kind in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
        )
    ),
]


@pytest.mark.parametrize(("file", "pack", "member", "message"), HOSTILE)
def test_hostile_archives_are_refused(
    file, pack, member, message, server, cache, tmp_path, monkeypatch
):
    if isinstance(member, str):
        member = member.replace("FOLDER", str(tmp_path))
    # A link holds its target in a .zip, and nothing in a .tgz.
    text = b"" if isinstance(member, tarfile.TarInfo) else b"../../odd"
    content = pack([*TEXT.items(), (member, text)])
    offer(server, monkeypatch, "wikitext2", **{file: content})
    with pytest.raises(data.DataError) as caught:
        data.wikitext2()
    assert str(caught.value).startswith(f"{file}: its member ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []
    assert list(tmp_path.rglob("*odd*")) == []


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_overwrites_nothing(pack, tmp_path):
    archive = tmp_path / ("w.zip" if pack is zip_of else "w.tgz")
    archive.write_bytes(pack([("one", b"first"), ("one", b"second")]))
    with pytest.raises(data.DataError, match="cannot be unpacked"):
        unpack.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "one").read_bytes() == b"first"


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_truncated_archive_is_an_error(pack, kept, tmp_path):
    archive = tmp_path / ("w.zip" if pack is zip_of else "w.tgz")
    content = pack([("one", bytes(range(256)) * 40), *TEXT.items()])
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(data.DataError, match="cannot be unpacked"):
        unpack.unpack(archive, tmp_path / "out")


def test_every_checksum_can_be_one():
    lengths = {"md5": 32, "sha256": 64}
    for source in sources.SOURCES.values():
        for remote in source.remotes:
            algorithm, _, digest = remote.checksum.partition(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm]
            assert all(
                address.startswith(("https://", "http://"))
                for address in remote.addresses
            )
