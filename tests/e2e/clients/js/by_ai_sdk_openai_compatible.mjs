import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

import { scenarios } from "./ai_sdk.mjs";

export const { plain, streamed, tools, abort, timeout } = scenarios(({ base_url, api_key, model }) =>
  createOpenAICompatible({ name: "gateway", baseURL: base_url, apiKey: api_key })(model),
);
