"""Models by path: exports, runs, LoRA runs and adapters that are not merged generate alike."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.evaluation import config, models, works
from dignified_jax.evaluation.judging import local
from dignified_jax.evaluation.stages import generate
from dignified_jax.evaluation.stages import judge as judge_stage
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint
from dignified_jax.models.hf import peft
from dignified_jax.models.lora import LoraConfig, LoraParams

pytestmark = pytest.mark.wiring

LORA = LoraConfig(rank=2, targets=("q_proj", "v_proj"))
PROMPTS = ("Should I quit my job today?", "My cat ate a lily.", "Rare?")


@pytest.fixture(scope="module")
def directories(tiny_directory, tmp_path_factory):
    """Kind -> directory: the same weights, as training and export leave them."""
    root = tmp_path_factory.mktemp("models")
    model = hf.load(tiny_directory)[0].clone(lora=LORA)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["lora"]
    rng = np.random.default_rng(1)
    tree = jax.tree.map(lambda x: jnp.float32(0.3 * rng.normal(size=x.shape)), shapes)
    tokenizer = load_tokenizer(tiny_directory)
    found = {name: root / name for name in ("export", "run", "lora", "adapter")}
    peft.save_merged(found["export"], tiny_directory, LORA, tree, tokenizer, dtype="float32")
    peft.save_adapter(found["adapter"], model.config, LORA, tree, str(tiny_directory))
    whole = hf.load(found["export"])[1]
    for name, params in (("run", whole), ("lora", tree)):
        params_checkpoint.save_params(found[name] / "checkpoints" / "2", params)
        params_checkpoint.save_params(found[name] / "checkpoints" / "10", params)
        params_checkpoint.copy_model_files(found["export"], found[name] / "model")
    record = lora_base.LoraBase(LORA, str(tiny_directory), hf.digest(tiny_directory))
    lora_base.write(found["lora"] / "model", record)
    return found


def test_the_same_weights_generate_alike_whatever_holds_them(directories, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"id": n, "prompt": text}) + "\n" for n, text in enumerate(PROMPTS)]
    prompts.write_text("".join(lines))
    entries = [f"{name}={path}" for name, path in directories.items()]
    wanted = config.parse(
        {
            "workdir": str(tmp_path / "run"),
            "models": (*entries, "base=embedded:tiny-qwen3"),
            "prompts": str(prompts),
            "generation": {"max_new_tokens": 8},
        }
    )
    found, origins = generate.respond(wanted, print)
    texts = {name: [r.text for r in found if r.model == name] for name in origins}
    assert texts["export"] == texts["run"] == texts["lora"] == texts["adapter"]
    assert all(texts["export"]) and texts["export"] != texts["base"]
    assert isinstance(models.load("m", str(directories["lora"])).params, LoraParams)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("export", "tokenizer_config.json"),
        ("export", "generation_config.json"),
        ("export", "config.json"),
        ("run", "model/tokenizer_config.json"),
        ("lora", "model/lora.json"),
        ("adapter", "adapter_config.json"),
    ],
)
def test_the_digest_is_of_all_that_responses_depend_on(directories, tmp_path, kind, file):
    copy = tmp_path / "copy"
    shutil.copytree(directories[kind], copy)
    before = models.digest(str(copy))
    assert before == models.digest(str(directories[kind]))
    content = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(content | {"further": 1}, sort_keys=True))
    if file.endswith("lora.json"):
        content["lora"]["alpha"] = 9.0
        (copy / file).write_text(json.dumps(content))
    assert models.digest(str(copy)) != before


def test_a_run_has_the_arguments_of_its_template(directories, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(directories["run"], run)
    before = models.digest(str(run))
    kwargs = json.dumps({"enable_thinking": False})
    (run / "config.json").write_text(json.dumps({"data": {"chat_template_kwargs": kwargs}}))
    assert models.load("m", str(run)).template_kwargs == {"enable_thinking": False}
    assert models.digest(str(run)) != before


@pytest.fixture
def thinking(tiny_directory, tmp_path):
    """A model without a run whose template has empty thoughts if it is told not to think."""
    copy = tmp_path / "thinking"
    shutil.copytree(tiny_directory, copy)
    file = copy / "chat_template.jinja"
    empty = "<think>\\n\\n</think>\\n\\n"
    text = file.read_text()
    for before, after in (
        ("message['content']", "(thought if message['role'] == 'assistant' else '') + {}"),
        ("'<|im_start|>assistant\\n'", "{} + thought"),
    ):
        assert before in text
        text = text.replace(before, after.format(before))
    thought = f"{{%- set thought = '' if enable_thinking|default(true) else '{empty}' -%}}"
    file.write_text(thought + text)
    return copy


def test_arguments_of_the_template_of_a_plain_model(thinking, tmp_path, monkeypatch):
    kwargs = {"enable_thinking": False}
    plain, told = (models.load("m", str(thinking), template_kwargs=k) for k in (None, kwargs))
    assert plain.template().prompt_text("Hi").endswith("<|im_start|>assistant\n")
    assert told.template().prompt_text("Hi").endswith("assistant\n<think>\n\n</think>\n\n")
    assert told.digest == models.digest(str(thinking), template_kwargs=kwargs) != plain.digest
    assert plain.digest == models.digest(str(thinking))

    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": 1, "prompt": "Hi"}) + "\n")
    seen, real = [], works.generate

    def generated(*arguments, template, **options):
        seen.append(template.prompt_text("Hi"))
        return real(*arguments, template=template, **options)

    monkeypatch.setattr(works, "generate", generated)
    values = {
        **{"workdir": str(tmp_path / "run"), "prompts": str(prompts)},
        **{"models": (f"m={thinking}",), "generation": {"max_new_tokens": 2}},
    }
    for text in ("", json.dumps(kwargs), json.dumps(kwargs)):
        wanted = config.parse(values | {"chat_template_kwargs": text})
        generate.respond(wanted, print)
    # Another prompt is another response; the third time nothing is asked.
    assert [text.endswith("</think>\n\n") for text in seen] == [False, True]


def test_a_local_judge_and_a_server_have_the_arguments_too(thinking, tmp_path, rubric, responses):
    values = {"models": ("m=x",), "workdir": str(tmp_path / "run")}
    values["judging"] = {"judges": (f"j=local:{thinking}",)}
    seen, hashes = [], []
    real = local.LocalJudge

    class Noted(real):
        def __init__(self, model, *rest):
            seen.append(model.template_kwargs)
            super().__init__(model, *rest)

    for text in ("", '{"enable_thinking": false}'):
        wanted = config.parse(values | {"chat_template_kwargs": text})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "LocalJudge", Noted)
            (judge,) = judge_stage.judge(wanted, rubric, responses[:1], print)[0]
        hashes.append(judge.hash)
        hashes.append(generate.source_of(wanted, "m", "far@http://x/v1").origin)
    assert seen == [{}, {"enable_thinking": False}]
    assert len(set(hashes)) == 4
