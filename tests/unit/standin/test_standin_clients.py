"""The official Python clients, unchanged, against the stand-in: nothing in them tells it is none."""

import base64
import json

import ollama
import openai
import pytest
from conftest import standing

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "required": ["place", "unit"],
            "properties": {
                "place": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "days": {"type": "integer"},
            },
        },
    },
}
ARGUMENTS = {"place": "lab", "unit": "celsius"}
ASKED = [{"role": "user", "content": "What is the weather?"}]
PNG = b"\x89PNG\r\n\x1a\n and more"
DATA_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory, prefix, mirror):
    with standing(tmp_path_factory.mktemp("clients"), prefix) as found:
        found.fill_store(mirror, "gemma3:4b", "codellama:7b", "llama3.2:1b", "nomic-embed-text")
        yield found


@pytest.fixture
def native(server):
    return ollama.Client(host=server.url)


@pytest.fixture
def compatible(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def seen(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]


def test_generate_chat_stream_and_embeddings_with_ollamas_client(native):
    assert "llama3.2:1b" in native.generate("llama3.2:1b", "Hello").response
    parts = list(native.chat("llama3.2:1b", ASKED, stream=True))
    assert parts[-1].done and parts[-1].eval_count == 32
    assert "".join(part.message.content for part in parts).startswith("Here llama3.2:1b")
    vectors = native.embed("nomic-embed-text", ["one", "two"]).embeddings
    assert [len(vector) for vector in vectors] == [768, 768]
    assert "gemma3:4b" in [entry.model for entry in native.list().models]
    assert native.show("gemma3:4b").capabilities == ["completion", "vision"]
    assert native.ps().models


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_with_tools_calls_one_and_then_answers(native, stream):
    answer = native.chat("llama3.2:1b", ASKED, tools=[TOOL], stream=stream)
    parts = list(answer) if stream else [answer]
    (call,) = [call for part in parts for call in part.message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("weather", ARGUMENTS)
    assert parts[-1].done_reason == "stop" and parts[-1].eval_count < 32
    told = {"role": "tool", "content": "11 degrees", "tool_name": "weather"}
    whole = [*ASKED, {"role": "assistant", "tool_calls": [call.model_dump()]}, told]
    final = native.chat("llama3.2:1b", whole, tools=[TOOL])
    assert final.message.content and not final.message.tool_calls


def test_a_model_without_tools_refuses_them(native):
    with pytest.raises(ollama.ResponseError) as caught:
        native.chat("codellama:7b", ASKED, tools=[TOOL])
    assert caught.value.status_code == 400
    assert caught.value.error == ("registry.ollama.ai/library/codellama:7b does not support tools")


def test_images_are_read_by_models_that_can_see(native):
    message = {"role": "user", "content": "What is it?", "images": [PNG]}
    assert native.chat("gemma3:4b", [message]).prompt_eval_count > 768
    assert native.generate("gemma3:4b", "What is it?", images=[PNG]).prompt_eval_count > 768
    with pytest.raises(ollama.ResponseError, match="image input is not supported"):
        native.chat("llama3.2:1b", [message])
    with pytest.raises(ollama.ResponseError, match="Failed to load image"):
        native.generate("gemma3:4b", "What is it?", images=[b"no image at all"])


def test_a_broken_image_is_refused_before_anything_else(server):
    body = {"model": "gemma3:4b", "messages": [{"role": "user", "images": ["ab?d"]}]}
    answer = server.http.post("/api/chat", json=body)
    assert answer.status_code == 400
    assert answer.json() == {"error": "illegal base64 data at input byte 2"}


def test_json_comes_when_it_is_asked_for(native):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    assert json.loads(native.chat("codellama:7b", ASKED, format=schema).message.content) == {"n": 1}
    assert json.loads(native.generate("codellama:7b", "x", format="json").response)


def test_errors_of_ollamas_client(native):
    with pytest.raises(ollama.ResponseError) as caught:
        native.generate("absent", "x")
    assert (caught.value.status_code, caught.value.error) == (404, "model 'absent' not found")


def test_chat_completions_and_embeddings_with_openais_client(compatible):
    answer = compatible.chat.completions.create(model="llama3.2:1b", messages=ASKED)
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens == 32
    chunks = list(
        compatible.chat.completions.create(
            model="llama3.2:1b",
            messages=ASKED,
            stream=True,
            max_tokens=5,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-2].choices[0].finish_reason == "length"
    whole = compatible.completions.create(model="llama3.2:1b", prompt="Hello")
    assert whole.choices[0].text.startswith("Here")
    vector = compatible.embeddings.create(model="nomic-embed-text", input="one").data[0].embedding
    assert len(vector) == 768 and sum(v * v for v in vector) == pytest.approx(1, abs=1e-4)
    assert "llama3.2:1b" in [model.id for model in compatible.models.list()]


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_gets_its_tool_called(compatible, stream):
    answer = compatible.chat.completions.create(
        model="llama3.2:1b", messages=ASKED, tools=[TOOL], stream=stream
    )
    choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
    messages = [choice.delta if stream else choice.message for choice in choices]
    (call,) = [call for message in messages for call in message.tool_calls or ()]
    assert call.function.name == "weather" and json.loads(call.function.arguments) == ARGUMENTS
    assert choices[-1].finish_reason == "tool_calls"
    asked = {"role": "assistant", "tool_calls": [call.model_dump()]}
    told = {"role": "tool", "tool_call_id": call.id, "content": "11 degrees"}
    final = compatible.chat.completions.create(
        model="llama3.2:1b", messages=[*ASKED, asked, told], tools=[TOOL]
    )
    assert final.choices[0].message.content and final.choices[0].finish_reason == "stop"


def test_openais_images_are_data_uris(compatible):
    chat = compatible.chat.completions
    assert chat.create(model="gemma3:4b", messages=seen(DATA_URI)).usage.prompt_tokens > 768
    for bad in ("https://example.org/x.png", "data:image/png;base64,a", "data:text/plain,x"):
        with pytest.raises(openai.BadRequestError):
            chat.create(model="gemma3:4b", messages=seen(bad))
    with pytest.raises(openai.InternalServerError, match="image input is not supported"):
        chat.create(model="llama3.2:1b", messages=seen(DATA_URI))


def test_responses_whole_streamed_and_with_a_tool(compatible):
    create = compatible.responses.create
    assert create(model="llama3.2:1b", input="Hello").output_text.startswith("Here")
    events = list(create(model="llama3.2:1b", input=ASKED, stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    words = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert words == events[-1].response.output_text and events[-1].response.usage.output_tokens
    flat = {"type": "function", **TOOL["function"]}
    (call,) = create(model="llama3.2:1b", input="Weather?", tools=[flat]).output
    assert call.type == "function_call" and json.loads(call.arguments) == ARGUMENTS
    told = {"type": "function_call_output", "call_id": call.call_id, "output": "11 degrees"}
    final = create(model="llama3.2:1b", input=[*ASKED, call.model_dump(), told], tools=[flat])
    assert final.output_text


def test_json_for_openais_client(compatible):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
    answer = compatible.chat.completions.create(
        model="codellama:7b", messages=ASKED, response_format=form
    )
    assert json.loads(answer.choices[0].message.content) == {"n": 1}


def test_errors_of_openais_client(compatible):
    with pytest.raises(openai.NotFoundError) as caught:
        compatible.chat.completions.create(model="absent", messages=ASKED)
    assert caught.value.body["type"] == "not_found_error"
    with pytest.raises(openai.BadRequestError):
        compatible.chat.completions.create(model="llama3.2:1b", messages=[])
