"""What a Dockerfile says, what it promises, and what Docker would send it; read without Docker."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

BASE = "${PYTHON_IMAGE:?names-the-base-by-its-digest:use-remit-image}"
NETWORK = re.compile(r"\b(?:apt-get|apt|curl|wget|git|https?)\b")
SECRET = re.compile(r"(?:PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY)", re.IGNORECASE)


class Instruction(NamedTuple):
    name: str
    text: str


class Stage(NamedTuple):
    base: str
    alias: str
    instructions: list[Instruction]

    def of(self, name: str) -> list[str]:
        return [one.text for one in self.instructions if one.name == name]

    def variables(self) -> dict[str, str]:
        pairs = [pair.partition("=") for text in self.of("ENV") for pair in shlex.split(text)]
        return {name: value for name, _, value in pairs}


def instructions(source: str) -> list[Instruction]:
    lines = [line for line in source.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    parts = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [Instruction(name, text.strip()) for name, _, text in parts]


def stages(source: str) -> list[Stage]:
    found: list[Stage] = []
    for one in instructions(source):
        if one.name == "FROM":
            words = [word for word in one.text.split() if not word.startswith("--")]
            found.append(Stage(words[0], words[2] if len(words) == 3 else "", []))
        elif found:
            found[-1].instructions.append(one)
    return found


def broken_promises(source: str) -> Iterator[str]:
    """Each promise of the service's Dockerfile that this one does not keep."""
    every = instructions(source)
    made = stages(source)
    last = made[-1]
    if not source.startswith("# check=skip=InvalidDefaultArgInFrom\n"):
        yield "Docker reads the directive"
    aliases = {stage.alias for stage in made}
    if any(stage.base not in {BASE, *aliases} for stage in made):
        yield "a base is an argument or an earlier stage"
    given = [one for one in every if one.text.startswith("PYTHON_IMAGE")]
    if any(one != ("ARG", "PYTHON_IMAGE") for one in given) or ":latest" in source:
        yield "no base floats"
    runs = [one.text for one in every if one.name == "RUN"]
    if not any("*@sha256:*" in text and "exit 1" in text for text in runs):
        yield "a base without a digest is refused"
    if (
        re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last.of("USER")[-1] if last.of("USER") else "")
        is None
    ):
        yield "nobody is root"
    if len(last.of("USER")) > 1:
        yield "nobody becomes another"
    checks = [text.rpartition("CMD ")[2] for text in last.of("HEALTHCHECK")]
    if checks != ['["python", "-m", "remit.entrypoints.healthcheck"]']:
        yield "the service says whether it lives"
    if not all(_is_exec_form(text) for text in (*last.of("ENTRYPOINT"), *last.of("CMD"), *checks)):
        yield "signals reach Python"
    if last.of("ENTRYPOINT") != ['["python", "-m", "remit"]'] or len(last.of("CMD")) != 1:
        yield "the command is one word"
    installs = [text for text in runs if "pip install" in text]
    if not installs or not all("--require-hashes" in text for text in installs):
        yield "every package is known by its hash"
    if not all("--no-build" in text or "--only-binary :all:" in text for text in installs):
        yield "nothing is compiled"
    if any(one.name == "ADD" for one in every) or any(NETWORK.search(text) for text in runs):
        yield "nothing but packages comes from the network"
    if last.of("RUN") or not all(text.startswith("--from=") for text in last.of("COPY")):
        yield "the last stage is copied alone"
    if any(re.search(r"(?:^|\s)\.(?=\s)", one.text) for one in every if one.name == "COPY"):
        yield "files are named"
    if any(SECRET.search(one.text) for one in every if one.name in ("ARG", "ENV", "LABEL")):
        yield "no secret is in it"
    if last.variables().get("PYTHONDONTWRITEBYTECODE") != "1":
        yield "nothing is written at run time"
    if "unchecked-hash" not in source:
        yield "bytecode is there from the start"
    labels = " ".join(last.of("LABEL"))
    if not all(f'image.{one}="$' in labels for one in ("revision", "version")):
        yield "the image says what it is"


def _is_exec_form(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def sent(names: list[str], ignoring: str) -> set[str]:
    """Which of these files Docker sends, by a .dockerignore: the last pattern that fits decides."""
    kept = set()
    patterns = [line for line in ignoring.splitlines() if line and not line.startswith("#")]
    for name in names:
        is_sent = True
        for pattern in patterns:
            if _fits(name, pattern.removeprefix("!")):
                is_sent = pattern.startswith("!")
        if is_sent:
            kept.add(name)
    return kept


def _fits(name: str, pattern: str) -> bool:
    """Docker's rule: `*` stays within a folder, `**/` is any number of them, a folder takes all."""
    parts = re.split(r"(\*\*/|\*)", pattern)
    stars = {"**/": "(?:.*/)?", "*": "[^/]*"}
    written = "".join(stars.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(f"{written}(?:/.*)?", name) is not None


def perform(stage: Stage, context: Path, folder: Path, given: Mapping[str, str]) -> None:
    """Does what a stage says, in a folder instead of a container: its very commands are run."""
    environment = dict(given)
    for name, text in stage.instructions:
        if name == "ARG":
            argument, _, default = text.partition("=")
            environment.setdefault(argument, default)
        elif name == "ENV":
            environment |= {k: v for k, _, v in (pair.partition("=") for pair in shlex.split(text))}
        elif name == "COPY":
            *sources, target = text.split()
            for source in sources:
                _copy(context / source, folder / target)
        elif name == "RUN":
            subprocess.run(["/bin/sh", "-c", text], cwd=folder, env=environment, check=True)
        else:
            assert (name, text) == ("WORKDIR", "/build")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target / source.name if target.is_dir() else target)
