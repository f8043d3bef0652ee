"""The README's house is the real one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "mitsugo"


def house() -> dict[str, str]:
    """Return each room of the README and what stands behind it, lines joined."""
    text = re.search(r"^src/mitsugo/\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    rooms: dict[str, str] = {}
    for line in text[1].splitlines():
        if found := re.match(r"  (\S+) +(.*)", line[: 2 + len(line.strip())]) if line[2] != " " else None:
            rooms[found[1]] = found[2]
        else:
            rooms[list(rooms)[-1]] += " " + line.strip()
    return rooms


def kept(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"]


def test_every_room_is_in_the_readme_and_no_other():
    real = {path.name + "/" * path.is_dir() for path in kept(SOURCE)}
    assert set(house()) == real
    assert all(house().values())


def test_every_module_of_a_folder_is_named_in_order():
    for room, said in house().items():
        if room.endswith("/"):
            entries = [path for path in kept(SOURCE / room) if path.name != "__init__.py"]
            modules = [path.stem for path in entries if path.suffix == ".py"]
            folders = [path.name + "/" for path in entries if path.is_dir()]
            expected = ", ".join(modules) + ("; " + ", ".join(folders) if folders else "")
            assert said.split(": ")[-1] == expected, room
