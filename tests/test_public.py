"""What `import mitsugo` offers."""

import subprocess
import sys

import pytest

import mitsugo


def test_every_public_name_is_there_and_documented():
    for name in mitsugo.__all__:
        value = getattr(mitsugo, name)
        assert name == "RECIPES" or value.__doc__, name
    assert set(mitsugo.__all__) <= set(dir(mitsugo))


def test_all_and_the_homes_name_the_same():
    assert sorted(mitsugo.__all__) == sorted(mitsugo._HOME_OF)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = mitsugo.nonsense


@pytest.mark.parametrize("heavy", ["torch", "numpy", "sklearn", "matplotlib", "rich"])
def test_import_and_help_load_nothing_heavy(heavy):
    code = (
        "import sys, contextlib, io, mitsugo.cli as cli\n"
        "with contextlib.redirect_stdout(io.StringIO()): assert cli.run(['--help']) == 0\n"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
