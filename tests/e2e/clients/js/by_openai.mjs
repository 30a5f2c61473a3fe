// The official client.

import OpenAI from "openai";

const parameters = { type: "object", properties: { location: { type: "string" } }, required: ["location"] };
const definition = { name: "weather", description: "The weather somewhere.", parameters };
const asked = [{ role: "user", content: "Say something." }];

const weather = (call) => `sunny in ${JSON.parse(call.arguments).location}`;

function create({ endpoint, base_url, api_key, model }, messages, more = {}, options = {}) {
  const client = new OpenAI({ baseURL: base_url, apiKey: api_key, ...options });
  return endpoint === "responses"
    ? client.responses.create({ model, input: messages, ...more })
    : client.chat.completions.create({ model, messages, ...more });
}

function deltaOf({ endpoint }, event) {
  if (endpoint === "chat") return event.choices[0].delta.content ?? "";
  return event.type === "response.output_text.delta" ? event.delta : "";
}

function textOf({ endpoint }, answer) {
  return endpoint === "responses" ? answer.output_text : answer.choices[0].message.content;
}

export async function plain(command) {
  return { text: textOf(command, await create(command, asked)) };
}

export async function streamed(command) {
  const pieces = [];
  for await (const event of await create(command, asked, { stream: true })) {
    const delta = deltaOf(command, event);
    if (delta) pieces.push(delta);
  }
  return { text: pieces.join(""), pieces: pieces.length };
}

export async function reasoned({ base_url, api_key, model }) {
  const client = new OpenAI({ baseURL: base_url, apiKey: api_key });
  const stream = client.responses.stream({ model, input: asked, reasoning: { effort: "low" } });
  const heard = [];
  for await (const event of stream) if (event.type === "response.reasoning_text.delta") heard.push(event.delta);
  const { output } = await stream.finalResponse();
  return { heard: heard.join(""), text: output[0].content[0].text };
}

export async function tools(command) {
  let tools, messages;
  if (command.endpoint === "responses") {
    tools = [{ type: "function", strict: false, ...definition }];
    const { output } = await create(command, asked, { tools });
    const [call] = output;
    const result = { type: "function_call_output", call_id: call.call_id, output: weather(call) };
    messages = [...asked, ...output, result];
  } else {
    tools = [{ type: "function", function: definition }];
    const { message } = (await create(command, asked, { tools })).choices[0];
    const [call] = message.tool_calls;
    messages = [...asked, message, { role: "tool", tool_call_id: call.id, content: weather(call.function) }];
  }
  return { text: textOf(command, await create(command, messages, { tools })) };
}

export async function abort(command) {
  const stream = await create(command, asked, { stream: true });
  for await (const event of stream) {
    const text = deltaOf(command, event);
    if (text) {
      stream.controller.abort();
      return { text };
    }
  }
}

export async function timeout(command) {
  return { text: textOf(command, await create(command, asked, {}, { timeout: 300 })) };
}
