"""A component's name leads to its class, or to a message that says what is near."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from deepdiva.config import Kind, locate
from deepdiva.config.locate import find, names
from deepdiva.errors import UserError

NUMBER = Kind("number", base="numbers:Number", short={"half": "fractions:Fraction"}, namespaces=("fractions",))
ANYTHING = Kind("thing", namespaces=("textwrap",))


def write(path: str, code: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(code))


def message(kind: Kind, target: str, **options: str) -> str:
    with pytest.raises(UserError) as caught:
        locate(kind, target, **options)
    return str(caught.value)


def test_a_name_as_it_stands_goes_before_one_that_is_only_alike():
    from fractions import Fraction

    kind = Kind("number", short={"fraction_": "builtins:int"}, namespaces=("fractions",))
    assert find(kind, "Fraction").object is Fraction
    assert find(kind, "fraction_").object is int
    assert find(kind, "fraction").object is int


@pytest.mark.parametrize(
    ("target", "name"),
    [("half", "half"), ("HALF", "half"), ("fraction", "Fraction"), ("Fraction", "Fraction")],
)
def test_short_names_and_names_from_namespaces(target: str, name: str):
    from fractions import Fraction

    found = find(NUMBER, target)
    assert (found.target, found.object) == (name, Fraction)


@pytest.mark.parametrize("target", ["fractions.Fraction", "fractions:Fraction", "os.path.join", "pathlib:Path.cwd"])
def test_import_paths(target: str):
    assert callable(locate(Kind("thing"), target))


def test_functions_count_where_no_base_is_asked_for():
    assert names(ANYTHING)[:1] == ["TextWrapper"]
    assert locate(ANYTHING, "dedent") is textwrap.dedent
    assert names(NUMBER) == ["half", "Fraction"]


def test_a_class_in_a_file(project: Path):
    write("nets.py", "class Net: pass")
    assert locate(Kind("model"), "nets.py:Net").__module__ == "nets"
    assert locate(Kind("model"), "./nets.py:Net") is locate(Kind("model"), str(project / "nets.py:Net"))


def test_a_module_in_the_current_folder(project: Path):
    write("mine/nets.py", "class Net: pass")
    assert locate(Kind("model"), "mine.nets.Net").__name__ == "Net"


def test_files_import_what_lies_beside_them_now_and_later(project: Path):
    write("sub/parts.py", "SIZE = 3")
    write("sub/more.py", "SIZE = 4")
    write("sub/nets.py", "import parts\ndef net():\n    import more\n    return parts.SIZE + more.SIZE")
    assert locate(Kind("model"), "sub/nets.py:net")() == 7


def test_two_files_that_import_one_another_share_their_classes(project: Path):
    write("nets.py", "class Net: pass")
    write("task.py", "from nets import Net")
    assert locate(Kind("model"), "task.py:Net") is locate(Kind("model"), "nets.py:Net")
    assert locate(Kind("model"), "nets.Net") is locate(Kind("model"), "nets.py:Net")


def test_a_file_named_like_another_module_is_loaded_under_its_own_name(project: Path):
    write("json.py", "class Net: pass")
    write("a/nets.py", "class Net: a = 1")
    write("b/nets.py", "class Net: b = 1")
    assert locate(Kind("model"), "json.py:Net").__module__.endswith("_json")
    assert hasattr(sys.modules["json"], "dumps")
    assert hasattr(locate(Kind("model"), "a/nets.py:Net"), "a")
    assert hasattr(locate(Kind("model"), "b/nets.py:Net"), "b")
    write("my-nets.py", "class Net: pass")
    assert locate(Kind("model"), "my-nets.py:Net").__name__ == "Net"


def test_the_name_of_a_file_module_is_stable(project: Path):
    write("json.py", "class Net: pass")
    first = locate(Kind("model"), "json.py:Net")
    assert locate(Kind("model"), "json.py:Net") is first


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("fractoin", "there is no number named 'fractoin'\n  hint: did you mean 'Fraction'?"),
        ("zzz", "hint: known are half, Fraction; or an import path such as `my_pkg.MyClass`"),
        ("nowhere.Net", "there is no module 'nowhere'"),
        ("os.nowhere.Net", "there is no module 'os.nowhere'"),
        ("fractions.Fractoin", "there is no 'Fractoin' in fractions\n  hint: did you mean 'Fraction'?"),
        ("nets.py", "'nets.py' names a file, but no class in it\n  hint: write `nets.py:ClassName`"),
        ("netz.py:Net", "there is no file netz.py\n  hint: did you mean 'nets.py'?"),
        ("no/such/folder.py:Net", "there is no file no/such/folder.py\n  hint: looked in"),
        ("nets.py:Nett", "there is no 'Nett' in nets.py\n  hint: did you mean 'Net'?"),
        ("nets.py:Other", "there is no 'Other' in nets.py\n  hint: it has Net, Net2"),
        ("nets.py:Net", "'nets.py:Net' is no number: it does not derive from numbers.Number"),
        ("nets.py:SIZE", "'nets.py:SIZE' is neither a class nor a function, but of type int"),
        ("broken.py:Net", "broken.py:2: "),
        ("raises.py:Net", "cannot be imported: ZeroDivisionError in {project}/raises.py:3: division by zero"),
        ("needs.py:Net", "needs.py cannot be imported: ModuleNotFoundError in {project}/needs.py:1: No module"),
        ("raises.Net", "raises cannot be imported: ZeroDivisionError in {project}/raises.py:3: division by zero"),
        ("needs.Net", "needs cannot be imported: ModuleNotFoundError in {project}/needs.py:1: No module named 'xyz'"),
    ],
)  # fmt: skip
def test_what_cannot_be_found(project: Path, target: str, part: str):
    write("nets.py", "from json import dumps\nSIZE = 3\nclass Net: pass\nclass Net2: pass")
    write("broken.py", "class Net:\n  def")
    write("raises.py", "def f():\n\n    1 / 0\nf()")
    write("needs.py", "import xyz")
    assert part.replace("{project}", str(project)) in message(NUMBER, target)
    assert message(NUMBER, target, where="run.yaml:3").startswith("run.yaml:3: ")


def test_the_exception_of_a_users_file_is_kept(project: Path):
    write("raises.py", "1 / 0")
    with pytest.raises(UserError) as caught:
        locate(Kind("model"), "raises.py:Net")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "raises" not in sys.modules


def test_an_interruption_while_a_file_is_loaded_stays_one(project: Path):
    write("stops.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        locate(Kind("model"), "stops.py:Net")
