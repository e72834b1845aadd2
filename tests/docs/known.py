"""Tells of a command whether its flags and configuration keys exist, without running it."""

import contextlib
import importlib
import io
import pathlib
import re

from tests.docs.blocks import ROOT

# Programs of others, that a page may name.
OTHERS = ("inspect", "sbatch", "kubectl", "tensorboard", "ruff", "sphinx-build")
_LAUNCHERS = tuple(
    f"launch/{script}" for script in ("gpu_node.sh", "tpu_pod.sh", "slurm.sbatch", "gke_jobset.sh")
)
_CONFIGURED = tuple(
    f"dignified_jax.{name}" for name in ("train", "compare", "evaluate", "construct")
)


def problem(words):
    """Words of one command to a sentence about what is not known in it, or None."""
    words = [w for w in words if not re.fullmatch(r"[A-Z_]+=.*", w)]  # environment variables
    launcher = next((w for w in words if w in _LAUNCHERS), None)
    if launcher:
        flags = [word for word in words[words.index(launcher) + 1 :] if word != "--dry-run"]
        return _of_configured("dignified_jax.train", flags)
    if words[0].startswith("--config."):
        return _of_configured("dignified_jax.train", ["--config=lagdpo", *words])
    if words[:2] == ["pip", "install"]:
        return _of_extras(words)
    if words[:2] == ["python", "-m"]:
        return _of_module(words[2], words[3:])
    if words[0] == "python":
        return None if words[1] == "-c" or (ROOT / words[1]).exists() else f"no file {words[1]}"
    return None if words[0] in OTHERS else f"unknown program {words[0]}"


def main_of(module):
    """The function that `python -m module` calls with its arguments."""
    package = (ROOT / module.replace(".", "/")).is_dir()
    return importlib.import_module(f"{module}.__main__" if package else module).main


def call(module, arguments):
    """(exit status or the message of an exit, what was printed) of a command in this process.

    Of `... > FILE` the standard output is in the file.
    """
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            status = main_of(module)(arguments[: -2 if target else None])
        except SystemExit as stop:
            status = stop.code
    if target:
        pathlib.Path(target).write_text(printed.getvalue(), encoding="utf-8")
    return status, printed.getvalue() + said.getvalue()


def _of_extras(words):
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        for name in extra.split(","):
            if f'"{name}": [' not in setup:
                return f"no extra {name} in setup.py"
    return None


def _of_module(module, arguments):
    if module in _CONFIGURED:
        return _of_configured(module, arguments)
    if module.startswith("benchmarks."):
        path = ROOT.joinpath(*module.split("."))
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        return _of_source(arguments, file) if file.exists() else f"no module {module}"
    if module.startswith("dignified_jax."):
        return _of_help(module, arguments)
    return None if module == "pytest" else f"unknown module {module}"


def _of_configured(module, arguments):
    """A problem of a command with a configuration, which is read and checked."""
    asked = {"--help", "--print_config"} & set(arguments)
    status, said = call(module, arguments if asked else [*arguments, "--print_config"])
    return None if status in (0, None) else f"{status} {said}"


def _of_source(arguments, file):
    # A package's flags may be in any of its files.
    files = file.parent.glob("*.py") if file.name == "__main__.py" else [file]
    text = "".join(each.read_text(encoding="utf-8") for each in files)
    options = [a.partition("=")[0] for a in arguments if a.startswith("--")]
    return next((f"no {o} in {file.name}" for o in options if f'"{o}"' not in text), None)


def _of_help(module, arguments):
    """A problem of an argparse command, by what its --help says."""
    words = [a for a in arguments if not a.startswith("-")]
    try:
        for known in (words[:2], words[:1], []):  # a subcommand may follow the file that it is of
            status, said = call(module, [*known, "--help"])
            if not status:
                break
    except ModuleNotFoundError as error:
        return str(error)
    if words[len(known) :] and re.search(r"positional arguments:\n(  .*\n)*?  (\{|COMMAND)", said):
        return f"unknown command {' '.join(words[: len(known) + 1])}"
    for option in (a.partition("=")[0] for a in arguments if a.startswith("--")):
        if not re.search(rf"{option}\b(?!-)", said):
            return f"{module}: unknown {option}"
    return None
