"""Tool calls and JSON by a schema: what a model would fill in, always the same for one question."""

import hashlib
import json
from typing import Any

from .exchange import ApiError

TOKENS_OF_A_CALL = 12
SAMPLES: dict[str, Any] = {
    "string": "lab",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
}


def calls_for(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls that answer a chat with tools: its first tool, until a tool's answer is there."""
    tools, messages = request.get("tools") or [], request.get("messages") or []
    if not tools or not messages or messages[-1].get("role") == "tool":
        return []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ApiError(400, "json: cannot unmarshal tools into Go value of type api.Tools")
    function = tools[0].get("function") or {}
    called = {
        "index": 0,
        "name": str(function.get("name") or ""),
        "arguments": sample(function.get("parameters") or {"type": "object"}),
    }
    return [{"id": _id_of(messages, called), "function": called}]


def _id_of(messages: list[Any], called: dict[str, Any]) -> str:
    """The same for the same conversation, another one for a longer one."""
    seed = json.dumps([messages, called], sort_keys=True)
    return "call_" + hashlib.sha256(seed.encode()).hexdigest()[:8]


def sample(schema: object) -> Any:
    """A value that fits a JSON schema: required parts only, first choices."""
    if not isinstance(schema, dict):
        return SAMPLES["string"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return sample(choices[0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        return _object(schema)
    if kind == "array":
        return [sample(schema.get("items") or {})]
    return SAMPLES.get(str(kind), SAMPLES["string"])


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    return {key: sample(properties.get(key)) for key in schema.get("required") or properties}


def openai_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same calls as the OpenAI-compatible routes write them: arguments as text."""
    return [
        {
            "id": call["id"],
            "index": call["function"]["index"],
            "type": "function",
            "function": {
                "name": call["function"]["name"],
                "arguments": json.dumps(call["function"]["arguments"], separators=(",", ":")),
            },
        }
        for call in calls
    ]
