"""The Assistant Axis: the direction along which personas differ most, from the assistant's to all
others' (Lu et al., "The Assistant Axis", 2026)."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from dignified_jax.analysis.vectors import cosine
from dignified_jax.data.schema import Message, Prompt, shorten
from dignified_jax.data.schema.conversation import SYSTEM, USER
from dignified_jax.files.json_digest import digest
from dignified_jax.typed_config import ConfigError, yaml_text

PERSONAS = pathlib.Path(__file__).with_name("personas.yaml")
"""The file of the shipped personas."""


@dataclasses.dataclass(frozen=True)
class PersonaSet:
    """Personas that answer the same questions.

    Attributes:
      assistant: wordings of the assistant's own persona.
      personas: name -> description of a persona.
      questions: that all of them answer.
    """

    assistant: tuple[str, ...]
    personas: Mapping[str, str]
    questions: tuple[str, ...]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of all texts."""
        return digest([self.assistant, dict(self.personas), self.questions])

    def prompts(self, placement: str) -> dict[str, Prompt]:
        """Returns "PERSONA/QUESTION" -> prompt; wordings of the assistant are "=0", "=1", …"""
        framings = {f"={n}": text for n, text in enumerate(self.assistant)} | dict(self.personas)
        found: dict[str, Prompt] = {}
        for name, framing in framings.items():
            for number, question in enumerate(self.questions):
                turns = (Message(SYSTEM, framing), Message(USER, question))
                joined = f"{framing}\n\n{question}"
                found[f"{name}/{number}"] = turns if placement == "system" else joined
        return found


@dataclasses.dataclass(frozen=True)
class Axis:
    """The axis at each layer.

    Attributes:
      component: first principal component of the personas' mean states, of length 1, pointing to
        the assistant.
      contrast: the assistant's mean state less the mean of all other personas'.
      explained: (layer,) share of the variance that the component has.
      agreement: (layer,) cosine between component and contrast.
      loadings: (persona, layer) of the personas along the component, 0 their mean.
    """

    component: Float32[np.ndarray, "layer width"]
    contrast: Float32[np.ndarray, "layer width"]
    explained: np.ndarray
    agreement: np.ndarray
    loadings: np.ndarray

    @property
    def scaled(self) -> Float32[np.ndarray, "layer width"]:
        """The component, as long as the assistant is apart from the other personas along it."""
        length = np.sum(self.component * self.contrast, axis=-1, keepdims=True)
        return self.component * length


def assistant_axis(
    assistant: Float32[np.ndarray, "layer width"],
    personas: Float32[np.ndarray, "persona layer width"],
) -> Axis:
    """Makes the axis of mean states.

    Args:
      assistant: of the assistant's own persona.
      personas: of all others, at least two.

    Raises:
      ValueError: fewer.
    """
    if len(personas) < 2:
        raise ValueError(f"expected at least two personas, found {len(personas)}")
    everyone = np.concatenate([assistant[None], personas]).astype(np.float64)
    centred = everyone - everyone.mean(axis=0)
    contrast = assistant - personas.mean(axis=0)
    components, explained, loadings = [], [], []
    for layer in range(centred.shape[1]):
        _, sizes, rows = np.linalg.svd(centred[:, layer], full_matrices=False)
        along = rows[0] * (1.0 if rows[0] @ contrast[layer] >= 0 else -1.0)
        components.append(along)
        explained.append(sizes[0] ** 2 / max(np.sum(sizes**2), np.finfo(float).tiny))
        loadings.append(centred[:, layer] @ along)
    component = np.array(components, np.float32)
    return Axis(
        component,
        contrast.astype(np.float32),
        np.array(explained),
        cosine(component, contrast),
        np.array(loadings).T,
    )


def read(file: str | pathlib.Path = PERSONAS) -> PersonaSet:
    """Reads personas; `personas.yaml` beside this module shows the form.

    Raises:
      ConfigError: a part is missing or of another kind; names file and field.
      OSError: the file can't be read.
    """
    values, _ = yaml_text.read(file)
    if set(values) != {"assistant", "personas", "questions"}:
        raise ConfigError(
            f"{file}: expected assistant, personas and questions, found {', '.join(values)}"
        )
    personas = values["personas"]
    if not isinstance(personas, Mapping) or len(personas) < 2:
        raise ConfigError(f"{file}: personas must be at least two, NAME: description")
    for name in personas:
        if "/" in name or name.startswith("="):
            raise ConfigError(
                f"{file}: personas: expected names without '/' and not begun with '=', found {name}"
            )
    texts = {name: _texts([text], file, f"personas.{name}")[0] for name, text in personas.items()}
    lists = (_texts(values[key], file, key) for key in ("assistant", "questions"))
    assistant, questions = lists
    if len(questions) < 2:
        raise ConfigError(f"{file}: questions must be at least two, found one")
    return PersonaSet(assistant, texts, questions)


def _texts(value: object, file: str | pathlib.Path, key: str) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    if not listed or not all(isinstance(text, str) and text.strip() for text in listed):
        raise ConfigError(f"{file}: {key}: expected texts, none empty, found {shorten(value)}")
    return tuple(text.strip() for text in listed)
