"""Which parts of the package may import which: every import statement, wherever it stands."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

import dignified_jax

PACKAGE = "dignified_jax"
ROOT = pathlib.Path(dignified_jax.__file__).parent
GROUND = {"console", "files", "typed_config", "registry", "embedded", "agreement", "proportions"}
CORE = {"data", "models", "objectives"}
TRAINING = CORE | GROUND | {"training", "cluster"}
# Part of the package -> parts it may import besides itself. Each part must be listed.
ALLOWED = {
    "": {"console"},  # the package itself, which begins every command
    **{name: set() for name in GROUND},
    **{name: GROUND for name in CORE},
    "mfrm": GROUND,
    # Calls to models behind endpoints, for whoever judges or writes by them.
    "endpoints": GROUND,
    "generation": {"data", "models", "cluster"} | GROUND,
    "evaluation": {"data", "models", "mfrm", "generation", "endpoints", "cluster"} | GROUND,
    # "": the version
    "analysis": {"", "data", "models", "generation", "evaluation", "cluster"} | GROUND,
    "construction": {"data", "endpoints"} | GROUND,
    "review": {"data"} | GROUND,
    # The processes of a job.
    "cluster": {""} | GROUND,
    "training": CORE | GROUND | {"cluster"},
    "planning": TRAINING,
    "comparison": TRAINING,
    "train": TRAINING | {"planning"},
    "compare": TRAINING | {"comparison"},
    "convert": TRAINING,
    "generate": {"data", "models", "generation", "cluster"} | GROUND,
    "evaluate": TRAINING | {"evaluation", "generation", "endpoints", "mfrm"},
    "analyze": {"analysis", "evaluation", "cluster"} | GROUND,
    "construct": TRAINING | {"construction", "endpoints"},
}
ENTRY_POINTS = {"train", "compare", "convert", "generate", "evaluate", "analyze", "construct"}
# Part -> its rooms and modules -> those that they may import besides themselves. Of a part that
# stands here, each room must be listed; "*" are the modules that lie beside the rooms.
STEP = {"step"}
INPUT = {"arrays", "result", "input"}
SOLVER = INPUT | {"solver"}
FIT = SOLVER | {"connectivity", "mesh", "checks", "fit"}
INSIDE = {
    "models": {
        "attention": set(),
        "*": {"attention", "families"},
        "families": {"attention", "*"},
        "hf": {"attention", "families", "*"},
        "checkpoint": {"attention", "families", "*", "hf"},
    },
    "objectives": {"duals": {"*"}, "*": {"duals"}},
    "training": {
        "step": set(),
        "config": STEP,
        "run": STEP | {"config"},
        "inputs": STEP | {"config", "run"},
        "display": STEP | {"config", "run"},
        "*": STEP | {"config", "run", "inputs", "display"},
    },
    "evaluation": {
        "rubrics": set(),
        "responses": {"rubrics"},
        "models": set(),
        "judging": {"rubrics", "responses", "models"},
        "ledger": set(),
        "template_day": set(),
        "ood": {"rubrics", "responses", "models", "ledger", "template_day", "judging"},
        "utility": {"models", "judging"},
        "scores": {"rubrics"},
        "report": {"rubrics", "responses", "judging", "scores"},
        "stages": {
            *("*", "rubrics", "responses", "models", "ledger", "judging", "scores", "report"),
            *("ood", "utility", "template_day"),
        },
        "*": {"rubrics", "responses", "models", "judging", "scores", "report", "stages"},
    },
    "mfrm": {
        "products": set(),
        "arrays": {"products"},
        "mesh": set(),
        "result": {"arrays"},
        "input": INPUT,
        "solver": INPUT,
        "connectivity": SOLVER,
        "checks": SOLVER | {"connectivity", "mesh"},
        "fit": SOLVER | {"connectivity", "mesh", "checks"},
        "sparse": FIT | {"diagnostics"},
        "diagnostics": FIT,
        "report": FIT | {"sparse", "diagnostics"},
        "*": FIT | {"sparse", "diagnostics", "report"},
    },
}


@functools.cache
def read_modules():
    """Module name -> its syntax tree, for every file of the package."""
    modules = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *file.relative_to(ROOT).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(file.read_text(encoding="utf-8"), str(file))
    return modules


def read_edges(modules):
    """(importing module, imported module of the package) of every import statement."""
    edges = set()
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative import"
                joined = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [t if t in modules else node.module for t in joined]
            else:
                continue
            edges |= {(name, t) for t in targets if t.split(".")[0] == PACKAGE}
    return edges


@functools.cache
def edges_now():
    """Those of the package as it is."""
    return read_edges(read_modules())


def part(module):
    """The part that a module stands in; the package itself is a part of its own."""
    return module.split(".")[1] if "." in module else ""


def room(module):
    """The room of its part that a module stands in: a listed name, "*", or "" for the part."""
    names = module.split(".")[2:]
    if not names:
        return ""
    return names[0] if names[0] in INSIDE[part(module)] else "*"


def forbidden(edges):
    """The edges that `ALLOWED` and `INSIDE` do not have."""
    bad = []
    for source, target in edges:
        if part(source) != part(target):
            allowed = part(target) in ALLOWED.get(part(source), set())
        elif part(source) in INSIDE and room(source):
            rooms = INSIDE[part(source)]
            allowed = room(target) in rooms[room(source)] | {room(source)}
        else:
            allowed = True
        if not allowed or target.endswith("__main__"):
            bad.append(f"{source} imports {target}")
    return sorted(bad)


def find_cycle(edges):
    """Modules of one import cycle, or none. A package is not its modules' importer."""
    after = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for target in sorted(after.get(module, ())):
            if cycle := visit(target):
                return cycle
        done.add(path.pop())
        return []

    return next(filter(None, map(visit, sorted(after))), [])


def test_every_part_is_listed():
    """A new part needs a decision about what it may import."""
    assert {part(module) for module in read_modules()} - {""} <= set(ALLOWED)


def test_every_folder_of_a_divided_part_is_a_listed_room():
    for name, rooms in INSIDE.items():
        folders = {f.parent.name for f in (ROOT / name).glob("*/__init__.py")}
        assert folders <= set(rooms), name


def test_no_folder_is_crowded():
    """More modules than one sees at a glance want rooms of their own."""
    folders = [folder for folder in (ROOT, *ROOT.rglob("*")) if folder.is_dir()]
    crowded = {str(f.relative_to(ROOT)): n for f in folders if (n := len([*f.glob("*.py")])) > 19}
    assert crowded == {}  # 18 modules and their __init__.py


def test_no_forbidden_import():
    assert forbidden(edges_now()) == []


def test_nothing_imports_an_entry_point():
    assert [e for e in edges_now() if part(e[1]) in ENTRY_POINTS] == []


def test_no_cycle():
    assert find_cycle(edges_now()) == []


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("models.hf", "data"),
        ("data.packing", "models.logprobs"),
        ("objectives.dpo", "models.partition"),
        ("objectives.sft", "training.step.metrics"),
        ("models.decoder", "training"),
        ("embedded", "data"),
        ("mfrm", "data"),
        ("console.table", "files"),
        ("mfrm.solver.arrow", "mfrm.fit"),
        ("mfrm.input.counts", "mfrm.solver.blocks"),
        ("mfrm.diagnostics.sensitivity", "mfrm.report.tables"),
        ("mfrm.fit", "mfrm.sparse.fit"),
        ("models.attention.blocks", "models.remat"),
        ("models.decoder", "models.hf.reader"),
        ("training.step.state", "training.config"),
        ("training.config", "training.run.directory"),
        ("training.inputs.data", "training.display.summary"),
        ("training.run.checkpoint", "training.loop"),
        ("training.loop", "planning.plan"),
        ("planning.plan", "comparison.plan"),
        ("training.loop", "mfrm"),
        ("training.loop", "train"),
        ("training.loop", "convert"),
        ("training.loop", "comparison.policy_scores"),
        ("generation.queue", "training.step.sharding"),
        ("generation.respond", "objectives"),
        ("analysis.vectors", "training.step.sharding"),
        ("models.kv_cache", "generation.slots"),
        ("models.hf.reader", "models.checkpoint.params_checkpoint"),
        ("comparison.plan", "compare"),
        ("comparison.policy_scores", "mfrm.fit"),
        ("convert", "train"),
        ("evaluation.rubrics", "training.config"),
        ("evaluation.judging.prompts", "objectives.dpo"),
        ("mfrm.fit", "evaluation.rubrics"),
        ("review.ratings", "mfrm"),
        ("data", "data.__main__"),
        ("endpoints.calls", "evaluation.judging.prompts"),
        ("construction.making.checks", "evaluation.rubrics"),
    ],
)
def test_the_check_sees_forbidden_imports(source, target):
    edge = (f"{PACKAGE}.{source}", f"{PACKAGE}.{target}")
    assert forbidden(edges_now() | {edge}) == ["{} imports {}".format(*edge)]


def test_the_check_sees_imports_in_functions_and_of_modules():
    modules = read_modules() | {
        f"{PACKAGE}.models.new": ast.parse(
            "def late():\n"
            "    from dignified_jax import data\n"
            "    from dignified_jax.data import pack\n"
            "    import dignified_jax.training.step as step\n"
        )
    }
    assert read_edges(modules) - edges_now() == {
        (f"{PACKAGE}.models.new", f"{PACKAGE}.data"),
        (f"{PACKAGE}.models.new", f"{PACKAGE}.training.step"),
        # `pack` is a name in data/__init__.py, not a module
    }


def test_the_check_sees_cycles():
    edge = (f"{PACKAGE}.data.schema", f"{PACKAGE}.data.rows")
    assert set(find_cycle(edges_now() | {edge})) >= set(edge)


HEAVY = ("transformers", "datasets", "orbax", "flax", "optax", "torch", "matplotlib", "pandas")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("review.commands", ("jax", *HEAVY)),
        ("mfrm", ("scipy", "einops", "ml_collections", "rich", *HEAVY)),
        # It imports `objectives`, as the next test and `review` import `data`.
        ("training.config", ("transformers", "datasets", "orbax", "torch")),
    ],
)
def test_importing_does_not_pull_in(module, absent):
    """Heavy packages load where they are used; a fresh interpreter tells."""
    code = (
        f"import sys, {PACKAGE}.{module}\n"
        f"print(sorted(set({absent!r}) & {{name.split('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=True
    )
    assert result.stdout.strip() == "[]"


def test_rows_are_read_without_jax(tmp_path):
    """What reviews rows needs no JAX, and no tokenizer or table library for JSON lines."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "p", "golden": "g", "mask": ["A"], "reject_A": "r"}\n')
    code = (
        "import sys\n"
        f"from {PACKAGE} import data\n"
        f"assert data.read_rows({str(rows)!r})[0].mask == ('A',)\n"
        f"assert not set({('jax', *HEAVY)!r}) & set(sys.modules), sorted(sys.modules)\n"
        "assert callable(data.pack) and 'jax' in sys.modules\n"
        "assert set(data.__all__) <= set(dir(data))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=True)
