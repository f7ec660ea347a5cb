import contextlib
import errno
import hashlib
import http.server
import io
import os
import re
import stat
import tarfile
import threading
import zipfile
from types import SimpleNamespace

import pytest

from speechrnn.data import download as module
from speechrnn.data.archives import Archive, extract
from speechrnn.data.corpora import an4, archives
from speechrnn.data.download import download, fetch

BODY = bytes(range(256)) * 2000
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.body`, in the manner that `server.manner` describes."""

    def do_GET(self):
        manner = self.server.manner
        asked = self.headers.get("Range")
        self.server.asked.append((asked, self.headers.get("If-Range")))
        if manner.fail:
            return self.send_error(manner.fail.pop(0))
        if self.path not in manner.paths:
            return self.send_error(404)
        body, start = self.server.body, 0
        stale = self.headers.get("If-Range") not in (None, manner.etag, manner.modified)
        if asked and manner.ranges and not (stale and manner.minds_if_range):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in (("ETag", manner.etag), ("Last-Modified", manner.modified)):
            if value:
                self.send_header(name, value)
        if manner.length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = manner.drops.pop(0) if manner.drops else len(body)
        self.wfile.write(body[start : max(start, stop)])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A web server on this machine; `manner` is how it behaves."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.body, made.asked = BODY, []
    made.manner = SimpleNamespace(
        ranges=True, etag='"v1"', modified="Mon, 19 Feb 2018 00:00:00 GMT", length=True, drops=[], fail=[],
        minds_if_range=True, paths={"/a.bin"},
    )  # fmt: skip
    made.url = f"http://127.0.0.1:{made.server_port}/a.bin"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(server, path, **options):
    return fetch(server.url, path, **{"pause": 0.001, "timeout": 5, **options})


@pytest.mark.parametrize("checksum", [None, SHA256, MD5])
def test_a_whole_download(server, tmp_path, checksum):
    seen = []
    path = get(server, tmp_path / "new/a.bin", checksum=checksum, progress=lambda n, total: seen.append((n, total)))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY)) and [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert os.listdir(tmp_path / "new") == ["a.bin"]
    get(server, path, checksum=checksum)
    assert len(server.asked) == 1


def test_a_connection_that_drops_is_taken_up_where_it_broke_off(server, tmp_path):
    server.manner.drops = [100_000, 100_000, 300_000]
    assert get(server, tmp_path / "a.bin", checksum=SHA256).read_bytes() == BODY
    assert server.asked == [
        (None, None), ("bytes=100000-", '"v1"'), ("bytes=100000-", '"v1"'), ("bytes=300000-", '"v1"'),
    ]  # fmt: skip


def interrupted(server, tmp_path, at=200_000):
    """A download that was killed after `at` bytes."""
    server.manner.drops = [at]

    def killed(received, total):
        if received == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "a.bin", progress=killed)
    assert sorted(os.listdir(tmp_path)) == ["a.bin.part", "a.bin.part.json"]
    server.asked.clear()


def test_another_run_goes_on(server, tmp_path):
    interrupted(server, tmp_path)
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked == [("bytes=200000-", '"v1"')]


def test_a_date_serves_where_there_is_no_strong_etag(server, tmp_path):
    server.manner.etag = 'W/"v1"'
    interrupted(server, tmp_path)
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked == [("bytes=200000-", server.manner.modified)]


def test_without_any_validator_only_a_checksum_lets_it_go_on(server, tmp_path):
    server.manner.etag = server.manner.modified = None
    interrupted(server, tmp_path)
    assert get(server, tmp_path / "a.bin", checksum=SHA256).read_bytes() == BODY
    assert server.asked == [("bytes=200000-", None)]
    os.remove(tmp_path / "a.bin")
    interrupted(server, tmp_path)
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked == [(None, None)]


@pytest.mark.parametrize("minds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_downloaded_anew(server, tmp_path, minds_if_range):
    interrupted(server, tmp_path)
    server.manner.etag, server.manner.modified, server.body = '"v2"', "Tue, 20 Feb 2018 00:00:00 GMT", BODY[::-1]
    server.manner.minds_if_range = minds_if_range
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY[::-1]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.manner.ranges = False
    interrupted(server, tmp_path)
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(server, tmp_path):
    server.manner.ranges = False
    server.manner.drops = [100_000, 200_000] * 20
    with pytest.raises(OSError, match=r"Gave up after 4 attempts in a row without new data\. Run it again"):
        get(server, tmp_path / "a.bin", retries=3)


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_a_part_that_is_whole_already_or_too_long(server, tmp_path, extra):
    interrupted(server, tmp_path)
    (tmp_path / "a.bin.part").write_bytes(BODY + extra)
    assert get(server, tmp_path / "a.bin", checksum=SHA256).read_bytes() == BODY


@pytest.mark.parametrize("notes", ["", "[]", '{"url": "http://elsewhere/a.bin", "etag": "1"}'])
def test_a_part_of_unknown_origin_is_thrown_away(server, tmp_path, notes):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.bin.part.json").write_text(notes)
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked == [(None, None)]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(ValueError, match=r"a\.bin: its sha256 must be 0000\. Received: \w{64}\. It was deleted"):
        get(server, tmp_path / "a.bin", checksum="sha256:0000")
    assert not os.listdir(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(ValueError, match=r"its sha256 must be .*Pass overwrite=True"):
        get(server, tmp_path / "a.bin", checksum=SHA256)
    assert get(server, tmp_path / "a.bin", checksum=SHA256, overwrite=True).read_bytes() == BODY
    with pytest.raises(ValueError, match="begins with md5: or sha256:"):
        get(server, tmp_path / "a.bin", checksum="crc:1")


def test_a_busy_server_is_asked_again_but_not_one_without_the_file(server, tmp_path):
    server.manner.fail = [503, 429]
    assert get(server, tmp_path / "a.bin").read_bytes() == BODY
    server.manner.paths = set()
    with pytest.raises(OSError, match=r"a\.bin: the server answers 404 Not Found\. Check the address"):
        get(server, tmp_path / "b.bin")
    assert len(server.asked) == 4


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="Gave up after 2 attempts"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", retries=1, pause=0.001)
    with pytest.raises(ValueError, match="must begin with http"):
        fetch("file:///etc/passwd", tmp_path / "a.bin")


def test_without_a_length_the_end_is_the_end(server, tmp_path):
    server.manner.length = False
    seen = []
    get(server, tmp_path / "a.bin", checksum=SHA256, progress=lambda n, total: seen.append((n, total)))
    assert seen[-1] == (len(BODY), None)


def test_a_disk_too_small_is_told_before_anything_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No space left: 512,000 bytes are missing, 1,000 are free") as caught:
        get(server, tmp_path / "a.bin")
    assert caught.value.errno == errno.ENOSPC and not os.listdir(tmp_path)


def tar_of(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return path


def zip_of(path, *members, mode=0o644):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


GOOD = [("c/etc/a.txt", b"a"), ("c/wav/b.wav", BODY), ("c/LICENSE", b"free")]


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archives_of_every_kind(tmp_path, kind):
    archive = tmp_path / "x.archive"
    zip_of(archive, ("c/", b""), *GOOD) if kind == "zip" else tar_of(
        archive, ("c", (tarfile.DIRTYPE, "")), *GOOD, mode=kind
    )
    done = []
    paths = extract(archive, tmp_path / "out", progress=lambda n, total: done.append(n))
    assert [str(p.relative_to(tmp_path / "out")) for p in paths] == [name for name, _ in GOOD]
    assert [p.read_bytes() for p in paths] == [content for _, content in GOOD]
    assert done == [1, 2, 3] and os.listdir(tmp_path / "out") == ["c"]
    assert not paths[0].stat().st_mode & (stat.S_IXUSR | stat.S_ISUID)


ESCAPES = ["../evil", "c/../../evil", "/tmp/evil", "c/..", "..\\evil", "C:\\evil", "\\evil"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_paths_that_lead_out_of_the_folder(tmp_path, make, name):
    archive = make(tmp_path / "x", GOOD[0], (name, b"evil"))
    with pytest.raises(ValueError, match=r"x: the entry .* leads out of the folder\. It was not unpacked"):
        extract(archive, tmp_path / "out")
    assert not os.listdir(tmp_path / "out") and sorted(os.listdir(tmp_path)) == ["out", "x"]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ((tarfile.SYMTYPE, "/etc"), "a link"), ((tarfile.SYMTYPE, "etc/a.txt"), "a link"),
        ((tarfile.LNKTYPE, "c/etc/a.txt"), "a link"), ((tarfile.FIFOTYPE, ""), "a device or pipe"),
        ((tarfile.CHRTYPE, ""), "a device or pipe"), ((tarfile.BLKTYPE, ""), "a device or pipe"),
    ],
)  # fmt: skip
def test_links_and_devices_in_a_tar(tmp_path, entry, what):
    archive = tar_of(tmp_path / "x", GOOD[0], ("c/entry", entry), ("c/entry/evil", b"evil"))
    with pytest.raises(ValueError, match=f"the entry 'c/entry' is {what}"):
        extract(archive, tmp_path / "out")
    assert not os.listdir(tmp_path / "out")


@pytest.mark.parametrize(("mode", "what"), [(stat.S_IFLNK | 0o777, "a link"), (stat.S_IFCHR, "a device or pipe")])
def test_links_and_devices_in_a_zip(tmp_path, mode, what):
    archive = zip_of(tmp_path / "x", ("c/entry", b"/etc"), mode=mode)
    with pytest.raises(ValueError, match=f"the entry 'c/entry' is {what}"):
        extract(archive, tmp_path / "out")
    assert not os.listdir(tmp_path / "out")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9])
def test_a_damaged_archive_leaves_nothing(tmp_path, make, part):
    data = make(tmp_path / "x", *GOOD, ("c/noise", os.urandom(50_000))).read_bytes()
    (tmp_path / "x").write_bytes(data[: int(part * len(data))])
    with pytest.raises(ValueError, match="x: is damaged, or neither tar nor zip"):
        extract(tmp_path / "x", tmp_path / "out")
    assert not os.listdir(tmp_path / "out")


def test_a_flipped_bit_in_a_zip_is_found(tmp_path):
    data = bytearray(zip_of(tmp_path / "x", ("a", BODY)).read_bytes())
    data[1000] ^= 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged.*CRC"):
        extract(tmp_path / "x", tmp_path / "out")


def test_files_that_are_there_are_kept_unless_told(tmp_path):
    archive = tar_of(tmp_path / "x", *GOOD)
    (tmp_path / "out/c").mkdir(parents=True)
    (tmp_path / "out/c/LICENSE").write_bytes(b"free")
    (tmp_path / "out/c/mine").write_bytes(b"mine")
    extract(archive, tmp_path / "out")
    (tmp_path / "out/c/LICENSE").write_bytes(b"changed")
    os.remove(tmp_path / "out/c/etc/a.txt")
    with pytest.raises(FileExistsError, match="LICENSE: exists already and differs"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out/c/etc/a.txt").exists()
    extract(archive, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/c/LICENSE").read_bytes() == b"free" and (tmp_path / "out/c/mine").exists()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """The server publishes a small corpus called an4."""
    server.body = tar_of(tmp_path / "x", *GOOD).read_bytes()
    os.remove(tmp_path / "x")
    host = server.url.rsplit("/", 1)[0]
    server.manner.paths = {"/c.tar.gz"}

    def publish(checksum=None, *, first="c.tar.gz"):
        made = Archive((f"{host}/{first}", f"{host}/c.tar.gz"), "c", "CC0", checksum)
        monkeypatch.setitem(an4.ARCHIVES, "an4", made)
        return f"sha256:{hashlib.sha256(server.body).hexdigest()}"

    return publish


def test_download_unpacks_and_says_how_it_was_checked(published, tmp_path):
    digest = published()
    done = download("an4", tmp_path)
    assert (done.folder, done.checksum, done.checked) == (str(tmp_path / "c"), digest, False)
    assert "not checked" in str(done)
    assert os.listdir(tmp_path) == ["c"]
    with pytest.raises(FileExistsError, match="exists already"):
        download("an4", tmp_path)
    published(digest, first="gone.tar.gz")
    done = download("an4", tmp_path, overwrite=True, keep_archive=True)
    assert done.checked and "as published" in str(done)
    assert sorted(os.listdir(tmp_path)) == ["c", "c.tar.gz"]


def test_download_names_what_went_wrong(published, server, tmp_path):
    with pytest.raises(ValueError, match=r"no corpus 'an44'\. Did you mean"):
        download("an44", tmp_path)
    published(first="gone.tar.gz")
    server.manner.paths = set()
    with pytest.raises(OSError, match=r"an4: no address answers\. .*gone\.tar\.gz: the server answers 404"):
        download("an4", tmp_path)


def test_archives_are_well_formed():
    assert {"an4", "fsdd", "ljspeech", "librispeech-dev-clean", "mini-librispeech-train-clean-5"} <= archives().keys()
    for name, archive in archives().items():
        assert all(re.fullmatch(r"https?://\S+\.(tar\.gz|tar\.bz2|zip)", url) for url in archive.urls), name
        if archive.checksum is not None:
            assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.checksum), name


@pytest.mark.network
@pytest.mark.parametrize("name", ["an4", "fsdd"])
def test_the_real_archives_are_where_they_were(name, tmp_path):
    with contextlib.suppress(KeyboardInterrupt):

        def enough(received, total):
            raise KeyboardInterrupt

        fetch(archives()[name].urls[0], tmp_path / "x", progress=enough, retries=0)
    assert (tmp_path / "x.part").stat().st_size > 0
