import { createOpenAI } from "@ai-sdk/openai";

import { scenarios } from "./ai_sdk.mjs";

export const { plain, streamed, tools, abort, timeout } = scenarios(({ endpoint, base_url, api_key, model }) => {
  const provider = createOpenAI({ baseURL: base_url, apiKey: api_key });
  return endpoint === "chat" ? provider.chat(model) : provider.responses(model);
});
