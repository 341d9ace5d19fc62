"""Files of code that differ are named, Python first, with the lines that changed."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from deepdiva.errors import UserError
from deepdiva.runs.code_differences import code_differences


def code(files, *, commit="c" * 40, modes=None, links=None, left_out=()):
    """The files in `code/` of a run whose source holds `files`."""
    buffer = io.BytesIO()
    entries = {}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            sha256 = hashlib.sha256(data).hexdigest()
            entries[name] = {"mode": (modes or {}).get(name, "644"), "size": len(data), "sha256": sha256, "state": "x"}
    entries |= {name: {"link": target} for name, target in (links or {}).items()}
    record = {"schema": 1, "git": {"commit": commit}, "files": entries, "left_out": list(left_out)}
    return {"code/code.json": record, "code/source.tar.gz": buffer.getvalue()}


@pytest.fixture
def compared(make_run):
    def call(ours, theirs):
        return code_differences(make_run("a", files=ours), make_run("b", files=theirs))

    return call


def test_the_same_code_in_another_commit_is_no_difference(compared):
    assert compared(code({"a.py": "x"}), code({"a.py": "x"}, commit="d" * 40)) == []


def test_a_changed_line_is_shown_with_its_number(compared):
    lines = [f"x{number} = {number}\n" for number in range(20)]
    other = [*lines[:11], "x11 = 12\n", *lines[12:]]
    (found,) = compared(code({"a.py": "".join(lines)}), code({"a.py": "".join(other)}, commit="d" * 40))
    assert (found.kind, found.what, found.part, found.harmless) == ("code", "a.py", "file", False)
    assert "@@ -9,7 +9,7 @@\n" in found.detail
    assert "\n-x11 = 11\n+x11 = 12\n" in found.detail
    assert found.detail.endswith("(commits cccccccccccc and dddddddddddd)")
    assert "bytes, sha256 " in found.a


def test_python_first_then_settings_and_what_is_for_people_last(compared):
    names = ["README.md", "run.yaml", "b.py", "data.bin", "a.py"]
    found = compared(code(dict.fromkeys(names, "x\n")), code(dict.fromkeys(names, "y\n")))
    assert [item.what for item in found] == ["a.py", "b.py", "run.yaml", "data.bin", "README.md"]
    assert [item.harmless for item in found] == [False] * 4 + [True]


def test_a_comment_is_harmless(compared):
    (found,) = compared(code({"a.py": "x = 1\n"}), code({"a.py": "x = 1  # one\n"}))
    assert found.harmless
    assert "only comments" in found.detail
    assert "+x = 1  # one" in found.detail


def test_added_removed_renamed(compared):
    found = compared(code({"old.py": "1", "gone.py": "2"}), code({"sub/old.py": "1", "new.py": "3"}))
    assert {(item.what, item.a and item.a[:7], item.b and item.b[:7]) for item in found} == {
        ("old.py", "old.py", "sub/old"),
        ("gone.py", "1 bytes", None),
        ("new.py", None, "1 bytes"),
    }


def test_modes_and_links(compared):
    ours = code({"run.sh": "x"}, links={"link": "a"})
    found = compared(ours, code({"run.sh": "x"}, modes={"run.sh": "755"}, links={"link": "b"}))
    assert [(item.what, item.a, item.b) for item in found] == [
        ("run.sh", "mode 644", "mode 755"),
        ("link", "link to a", "link to b"),
    ]


def test_what_no_copy_holds(compared):
    left_out = [
        {"path": "big.bin", "reason": "over 5 MiB; unchanged since the commit", "size": 7},
        {"path": ".env", "reason": "may hold a secret", "size": 3},
        {"path": "module", "reason": "a submodule at commit aa"},
    ]
    others = [
        {"path": "big.bin", "reason": "over 5 MiB", "size": 8},
        {"path": ".env", "reason": "may hold a secret", "size": 4},
        {"path": "module", "reason": "a submodule at commit bb"},
    ]
    found = compared(code({}, left_out=left_out), code({}, left_out=others))
    assert [(item.what, item.a) for item in found] == [
        ("big.bin", "over 5 MiB, 7 bytes"),
        ("module", "a submodule at commit aa"),
    ]
    assert compared(code({}, left_out=left_out[:1]), code({}, left_out=[{**others[0], "size": 7}])) == []


def test_a_copy_that_is_damaged_or_lies_shows_no_lines(compared):
    ours, theirs = code({"a.py": "x = 1\n"}), code({"a.py": "x = 2\n"})
    for archive in (b"", code({"a.py": "x = 3\n"})["code/source.tar.gz"]):
        (found,) = compared(ours, {**theirs, "code/source.tar.gz": archive})
        assert "which is not shown" in found.detail
    (found,) = compared(code({"a.bin": b"\0"}), code({"a.bin": b"\1\0"}))
    assert "no text" in found.detail


@pytest.mark.parametrize("files", [None, [], {"a.py": 1}, {"a.py": {"size": "x", "sha256": []}}], ids=str)
def test_a_strangers_record_of_any_shape_is_survived(compared, files):
    odd = {"code/code.json": {"files": files, "left_out": files, "git": files}}
    compared(code({"a.py": "x"}), odd)
    compared(odd, odd)


def test_names_that_steer_a_terminal_are_escaped(compared):
    found = compared(code({}), code({"a\x1b[2J.py": "x"}))
    assert found[0].what == r"a\x1b[2J.py"


def test_a_record_that_only_one_has(make_run):
    a, b = make_run("a", files=code({})), make_run("b")
    assert [(item.what, item.b) for item in code_differences(a, b)] == [("code/code.json", None)]
    with pytest.raises(UserError, match="damaged"):
        code_differences(a, make_run("b", files={"code/code.json": "{"}))


def test_a_changed_line_in_a_real_run(trained):
    found = code_differences(trained(), trained(code="x = 1\ny = 2\n"))
    assert [item.what for item in found] == ["helper.py"]
    assert found[0].detail == "@@ -1,1 +1,2 @@\n x = 1\n+y = 2"
    assert code_differences(trained(), trained(1)) == []
