"""What the OpenAPI description says of bodies and answers."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hdlif.serve.bodies import JSON, STATE, TYPES
from hdlif.serve.refusals import KINDS


class Error(BaseModel):
    """Why a request is not answered."""

    code: str = Field(json_schema_extra={"enum": [*sorted(KINDS)]})
    message: str = Field(description="what was seen, and what is accepted")
    mend: str = Field(description="what the client can do")


class Answer(BaseModel):
    """What a network says; which fields there are is a matter of its task."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = Field(None, description="classify: the name of the class")
    probability: float | list[float] | None = Field(None, description="classify: of the class; sequence: of each step")
    logits: list[float] | None = Field(None, description="classify: of all classes")
    prediction: list[str] | dict[str, float | list[float]] | None = Field(
        None, description="sequence: the label of each step; regress: values by name; multilabel: the labels said"
    )
    probabilities: dict[str, float] | None = Field(None, description="multilabel: of each label")
    class_: int | None = Field(None, alias="class", description="classify: the number of the class, from 0")


class InputAnswer(Answer):
    """What a network says of an input."""

    input: str = Field(description="the body, or which input of it")


class Answers(BaseModel):
    """What `hdlif run --json` prints."""

    inputs: list[InputAnswer]
    failed: list[str] = Field([], description="of inputs that are not answered for, why")


class StepAnswer(Answer):
    """What a network says after a step of a stream."""

    t: int = Field(description="the step, from 1")


class StepAnswers(BaseModel):
    """What a network says after each of some steps."""

    stream: str
    t: int = Field(description="steps that the stream has seen")
    answers: list[StepAnswer]


class StreamRecord(BaseModel):
    """A stream."""

    stream: str = Field(description="its id: who knows it can use the stream")
    model: str
    digest: str = Field(description="of the network's file")
    t: int = Field(description="steps that it has seen")
    bytes: int = Field(description="that it holds")
    idle_seconds: float = Field(description="after which it is ended where nobody uses it")


class Takes(BaseModel):
    """What a network takes."""

    kind: str
    shape: list[int] = Field(description="of a step: channels, height, width")
    mean: list[float]
    std: list[float]
    frames: str
    resize: str
    columns: list[str]


class Model(BaseModel):
    """A network."""

    name: str
    digest: str = Field(description="SHA-256 of its file, as hdlif writes it")
    labels: list[str]
    task: str
    combine: str
    delay: int
    time_steps: int
    input: Takes
    weight_bytes: int
    stream_bytes: int


class ModelList(BaseModel):
    """The networks."""

    models: list[Model]


class Reloaded(BaseModel):
    """A network whose file was loaded again."""

    name: str
    digest: str
    changed: bool


class Health(BaseModel):
    """That the server is there, and takes requests."""

    status: str


ARRAY = {
    "type": "array",
    "items": {"anyOf": [{"type": "number"}, {"type": "array", "items": {}}]},
    "description": "numbers in lists as deep as the network's shape",
}
ROWS = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": {"type": "number"}},
    "minItems": 1,
    "description": "rows of a network with named columns: a number by the name of each",
}
VALUES = {
    "anyOf": [
        ARRAY,
        ROWS,
        {
            "type": "object",
            "properties": {
                "values": {"anyOf": [ARRAY, ROWS]},
                "type": {"enum": ["float32", "uint8"], "default": "float32"},
            },
            "required": ["values"],
            "additionalProperties": False,
        },
    ]
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
INPUT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": VALUES}, **dict.fromkeys(TYPES, _BINARY)},
    }
}
STATE_BODY: dict[str, Any] = {"requestBody": {"required": False, "content": {STATE: _BINARY}}}
STATE_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {STATE: _BINARY}, "description": "The state"}}
STREAM_LINKS = {
    name: {"operationId": name, "parameters": {"stream": "$response.body#/stream"}}
    for name in ("stream", "steps", "state", "end")
}
"""What can be done with a stream that has begun, by the names of the operations."""
TEXT_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}
}


def with_names(described: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A description whose parameters of the name of a model say which there are."""
    for path in described["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if (parameter["in"], parameter["name"]) == ("path", "model"):
                    parameter["schema"]["enum"] = list(names)
    return described


def refusals(codes: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may refuse with these codes."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = KINDS[code].status
        said = found.setdefault(status, {"model": Error, "description": ""})
        said["description"] += f"{', ' * bool(said['description'])}`{code}`"
    return found
