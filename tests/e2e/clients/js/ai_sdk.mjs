// Vercel's AI SDK. What differs between its providers is how a model is made.

import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const prompt = "Say something.";
const weather = tool({
  description: "The weather somewhere.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { location: { type: "string" } },
    required: ["location"],
    additionalProperties: false,
  }),
  execute: async ({ location }) => `sunny in ${location}`,
});

export function scenarios(modelFor) {
  const generate = async (command, more = {}) => {
    const { text } = await generateText({ model: modelFor(command), prompt, ...more });
    return { text };
  };
  return {
    plain: generate,
    tools: (command) => generate(command, { tools: { weather }, stopWhen: stepCountIs(3) }),
    timeout: (command) => generate(command, { abortSignal: AbortSignal.timeout(300) }),
    async streamed(command) {
      const pieces = [];
      for await (const piece of streamText({ model: modelFor(command), prompt }).textStream) pieces.push(piece);
      return { text: pieces.join(""), pieces: pieces.length };
    },
    async abort(command) {
      const controller = new AbortController();
      const stream = streamText({ model: modelFor(command), prompt, abortSignal: controller.signal }).textStream;
      for await (const text of stream) {
        controller.abort();
        return { text };
      }
    },
  };
}
