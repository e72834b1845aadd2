"""Prompts in files: "[system]" and "[user]" sections with $names that are filled in.

A directory of one's own may hold any of the files; the others are the package's. What is filled in
is never itself searched for names.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import string
from collections.abc import Mapping

from dignified_jax.typed_config import ConfigError, suggestion, yaml_text

OWN = pathlib.Path(__file__).with_name("prompts")
"""The directory of the package's prompts."""

_BRIEF = ("dimensions", "seeds", "language", "keys", "names")
NAMES: Mapping[str, tuple[str, ...]] = {
    "scenario_selection": _BRIEF,
    "scenario_generation": _BRIEF,
    "attribution": ("material", "dimension"),
    "golden": ("material", "dimensions", "language", "length"),
    "negative": ("material", "dimension", "others", "demonstrations", "language", "length"),
    "verify": ("material", "about", "criteria", "keys"),
    "order": ("material", "dimensions", "keys"),
}
"""Prompt -> names that it has to have, and no other."""

CRITERIA = "criteria.yaml"
KINDS: Mapping[str, tuple[str, ...]] = {
    "scenario": ("S1", "S2", "S3"),
    "reference": ("R1", "R2", "R3"),
    "negative": ("N1", "N2", "N3"),
    "language": ("L1",),
}
"""What is verified -> names of its criteria."""

_FORM = re.compile(r"\[system\]\n(.+?)\n\[user\]\n(.+)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Template:
    """One prompt.

    Attributes:
      system, user: texts with $names.
    """

    system: str
    user: str

    def fill(self, **values: str) -> tuple[str, str]:
        """Returns the texts of the system and the user, filled in."""
        texts = (self.system, self.user)
        return tuple(string.Template(text).substitute(values) for text in texts)


@dataclasses.dataclass(frozen=True)
class Prompts:
    """All prompts.

    Attributes:
      templates: name -> template.
      criteria: kind -> name -> statement.
    """

    templates: Mapping[str, Template]
    criteria: Mapping[str, Mapping[str, str]]

    def fill(self, name: str, **values: str) -> tuple[str, str]:
        """Returns the texts of the system and the user of a prompt, filled in."""
        return self.templates[name].fill(**values)


def read(directory: str | pathlib.Path = "") -> Prompts:
    """Reads the prompts.

    Args:
      directory: whose files take the place of the package's; "" for none.

    Raises:
      ConfigError: names the file and what is wrong with it.
      OSError: a file can't be read.
    """
    names = {**{f"{name}.txt": name for name in NAMES}, CRITERIA: CRITERIA}
    found = dict.fromkeys(names, OWN)
    if directory:
        for file in sorted(pathlib.Path(directory).iterdir()):
            if file.name.startswith("."):  # of file managers and editors, such as .DS_Store
                continue
            if file.name not in names:
                raise ConfigError(
                    f"prompts: {file} is none of {', '.join(names)}{suggestion(file.stem, NAMES)}",
                    "prompts",
                )
            found[file.name] = file.parent
    templates = {name: _template(found[f"{name}.txt"] / f"{name}.txt", name) for name in NAMES}
    return Prompts(templates, _criteria(found[CRITERIA] / CRITERIA))


def _template(file: pathlib.Path, name: str) -> Template:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text, found other bytes", "prompts") from error
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{file}: expected a line [system], a text, [user] and a text", "prompts")
    template = Template(match[1].strip(), match[2].strip())
    used: set[str] = set()
    for text in (template.system, template.user):
        if not string.Template(text).is_valid():
            raise ConfigError(f"{file}: expected $$ for a dollar sign, found a lone $", "prompts")
        used |= set(string.Template(text).get_identifiers())
    for each in sorted(used ^ set(NAMES[name])):
        wrong = "no" if each in used else "a"
        raise ConfigError(f"{file}: expected {wrong} ${each}; names are {NAMES[name]}", "prompts")
    return template


def _criteria(file: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
    values, _ = yaml_text.read(file)
    for kind, names in KINDS.items():
        section = values.get(kind)
        texts = section.values() if isinstance(section, Mapping) else ()
        if not texts or tuple(section) != names or not all(isinstance(t, str) for t in texts):
            raise ConfigError(f"{file}: expected {kind} with a text for {', '.join(names)}")
    return {kind: dict(values[kind]) for kind in KINDS}
